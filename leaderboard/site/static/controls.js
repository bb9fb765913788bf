// What the reader can choose: search, facets, machine, columns; and copies of the table.
"use strict";
Object.assign(
  moesuite,
  (() => {
    const { el, copy, rows, state, view } = moesuite;
    const update = (what) => moesuite.update(what);
    const button = (text, click) => el("button", { type: "button", click }, text);

    // A list of checkboxes that folds. `chosen` returns the values that are checked.
    function choice(title, options, { chosen, changed, counted = true }) {
      const summary = el("summary");
      const tally = () => {
        const count = counted && chosen().length ? ` (${chosen().length})` : "";
        summary.textContent = title + count;
      };
      const boxes = options.map(([value, label]) => {
        const change = (event) => {
          changed(value, event.target.checked);
          tally();
        };
        const checked = chosen().includes(value);
        return el(
          "label",
          {},
          el("input", { type: "checkbox", value, checked, change }),
          ` ${label}`,
        );
      });
      tally();
      const legend = el("legend", { class: "hidden" }, title);
      return el("details", {}, summary, el("fieldset", {}, legend, boxes));
    }

    function searchField() {
      const input = () => {
        state.q = field.value;
        update("filter");
      };
      const field = el("input", { type: "search", id: "search", value: state.q, input });
      return el("label", {}, "Search ", field);
    }

    function facet([name, title]) {
      const values = [...new Set(rows.map((row) => row[name]))].sort();
      if (values.length < 2) return null;
      const changed = (value, on) => {
        const others = state.facets[name].filter((other) => other !== value);
        state.facets[name] = on ? [...others, value] : others;
        update("filter");
      };
      const options = values.map((value) => [value, value]);
      return choice(title, options, { chosen: () => state.facets[name], changed });
    }

    function machineChoice() {
      if (!view.machines.length) return null;
      const change = (event) => {
        state.machine = event.target.value;
        update("all");
      };
      const options = view.machines.map((name) =>
        el("option", { value: name, selected: name === state.machine }, name),
      );
      return el("label", {}, "Times of ", el("select", { id: "machine", change }, options));
    }
    function onlyThisMachine() {
      if (view.machines.length < 2) return null;
      const change = (event) => {
        state.only = event.target.checked;
        update("filter");
      };
      const box = el("input", { type: "checkbox", id: "only", checked: state.only, change });
      return el("label", {}, box, " hide other hardware");
    }

    function columnChoice() {
      const names = view.columns.map((column) => column.name);
      const changed = (name, on) => {
        const isChosen = (other) => (other === name ? on : state.columns.includes(other));
        state.columns = names.filter(isChosen); // in the order of the page
        update("all");
      };
      const options = view.columns.map((column) => [column.name, column.label]);
      return choice("Columns", options, { chosen: () => state.columns, changed, counted: false });
    }

    function drawControls() {
      const controls = [
        searchField(),
        Object.entries(view.FACETS).map(facet),
        machineChoice(),
        onlyThisMachine(),
        columnChoice(),
        button("Copy as Markdown", () => copy(moesuite.markdown(), "the table as Markdown")),
        button("Copy as LaTeX", () => copy(moesuite.latex(), "the table as LaTeX")),
        button("Reset the view", () => {
          location.hash = "";
        }),
      ];
      const place = document.getElementById("controls");
      place.replaceChildren(el("div", { class: "controls" }, controls.flat()));
    }
    return { drawControls };
  })(),
);
