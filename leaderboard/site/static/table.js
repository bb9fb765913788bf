// A benchmark's table: rows with headings, sorting by several columns, rows side by side.
"use strict";
Object.assign(
  moesuite,
  (() => {
    const { el, figure, tell, board, rows, state, view, visible } = moesuite;
    const FIRST = 100; // rows that are shown before the reader asks for all
    const AT_ONCE = 40; // rows that are drawn before the page answers
    const CHARTS_WAIT = 80; // milliseconds, so that the table answers first
    const SORT_HELP = "Sort; with Shift: after the columns that are sorted by";
    const table = document.getElementById("table");
    const { columnOf, shownColumns } = view;

    let drawn = new Map(); // rows of the table by key, made once for a choice of columns
    let drawnFor = "";

    function select(row, box) {
      const others = state.selected.filter((key) => key !== row.key);
      state.selected = box.checked ? [...others, row.key] : others;
      update("select");
      box.focus();
    }
    function cellOf(row, column, index) {
      const attributes = {
        class: column.numeric ? "n" : null,
        scope: index ? null : "row",
        title: column.title ? column.title(row) : null,
      };
      const content = column.cell ? column.cell(row) : column.text(row);
      return el(index ? "td" : "th", attributes, content);
    }
    function makeRow(row) {
      const box = el("input", {
        type: "checkbox",
        "aria-label": `select ${row.router} ${row.variant}`,
        change: () => select(row, box),
      });
      const cells = shownColumns().map((column, index) => cellOf(row, column, index));
      return el("tr", { "data-key": row.key }, el("td", {}, box), cells);
    }
    function rowOf(row) {
      if (!drawn.has(row.key)) drawn.set(row.key, makeRow(row));
      const tr = drawn.get(row.key);
      tr.firstChild.firstChild.checked = state.selected.includes(row.key);
      return tr;
    }

    // Rows, and a heading before the first of each section.
    function withHeadings(shown, from, to) {
      const width = shownColumns().length + 1;
      return shown.slice(from, to).flatMap((row, i) => {
        const before = shown[from + i - 1];
        const starts = board.sections.length > 1 && (!before || before.place !== row.place);
        if (!starts) return [rowOf(row)];
        const heading = el("th", { scope: "rowgroup", colspan: width }, row.section);
        return [el("tr", { class: "section" }, heading), rowOf(row)];
      });
    }

    function headerOf(column) {
      const at = state.sort.findIndex(([name]) => name === column.name);
      const way = at < 0 ? 0 : state.sort[at][1];
      const arrow = way > 0 ? " ▲" : " ▼";
      const place = state.sort.length > 1 ? at + 1 : "";
      const button = el(
        "button",
        {
          type: "button",
          "data-column": column.name,
          title: `${column.about}. ${SORT_HELP}`,
          click: (event) => sortBy(column, event.shiftKey),
        },
        column.label + (way ? arrow + place : ""),
      );
      const sorted = way > 0 ? "ascending" : "descending";
      return el("th", { scope: "col", "aria-sort": way ? sorted : null }, button);
    }
    function drawHead() {
      const corner = el("td", {}, el("span", { class: "hidden" }, "select"));
      table.tHead.replaceChildren(el("tr", {}, corner, shownColumns().map(headerOf)));
    }

    // A column is sorted with its best first, then the other way, then no longer.
    function sortBy(column, further) {
      const at = state.sort.findIndex(([name]) => name === column.name);
      const bestFirst = ["quality", "dense"].includes(column.name) && board.max ? -1 : 1;
      let next = bestFirst;
      if (at >= 0) next = state.sort[at][1] === bestFirst ? -bestFirst : 0;
      if (!further) state.sort = next ? [[column.name, next]] : [];
      else if (at < 0) state.sort.push([column.name, next]);
      else if (next) state.sort[at][1] = next;
      else state.sort.splice(at, 1);
      update("sort");
      table.tHead.querySelector(`[data-column="${column.name}"]`).focus();
      tell(orderInWords());
    }
    function orderInWords() {
      if (!state.sort.length) return "in the order of settings and quality";
      const words = state.sort.map(
        ([name, way]) => `${columnOf(name).label}, ${way > 0 ? "ascending" : "descending"}`,
      );
      return `sorted by ${words.join(", then ")}`;
    }

    function drawBody(shown) {
      const key = state.columns.join() + state.machine;
      if (key !== drawnFor) drawn = new Map();
      drawnFor = key;
      table.tBodies[0].remove(); // with all its rows at once: one by one takes longer
      table.append(el("tbody", {}, withHeadings(shown, 0, AT_ONCE)));
      clearTimeout(growing);
      grow(state.all ? shown : shown.slice(0, FIRST), AT_ONCE);
      const more = document.getElementById("all");
      more.hidden = state.all || shown.length <= FIRST;
      more.textContent = `Show all ${shown.length} rows`;
      const cut = more.hidden ? "" : `, ${FIRST} of them shown`;
      const counted = `${shown.length} of ${rows.length} contestants${cut}`;
      document.getElementById("count").textContent = counted;
    }
    // The first rows answer at once; the others follow, a part at a time.
    let growing = 0;
    function grow(shown, from) {
      if (from >= shown.length) return;
      growing = setTimeout(() => {
        table.tBodies[0].append(...withHeadings(shown, from, from + FIRST));
        grow(shown, from + FIRST);
      });
    }

    // Bounds of the times of dense models, over those of the dense model measured beside them.
    function drawNoise() {
      const parts = Object.entries(board.noise[state.machine] || {}).map(([name, spread]) => {
        const bounds = `${figure(spread.least, 3)} and ${figure(spread.most, 3)}`;
        const runs = `${spread.runs} run${spread.runs > 1 ? "s" : ""}`;
        const label = columnOf(name).label;
        return `${label} between ${bounds} (${runs}, median ${figure(spread.median, 3)})`;
      });
      const text = `Noise of times, from dense models measured against dense: ${parts.join("; ")}.`;
      document.getElementById("noise").textContent = parts.length ? text : "";
    }

    // Draw what a change has an effect on.
    let waiting = 0;
    function update(what) {
      const shown = visible();
      drawHead();
      drawBody(shown);
      moesuite.drawComparison();
      drawNoise();
      moesuite.remember();
      if (what === "sort") return;
      clearTimeout(waiting);
      waiting = setTimeout(() => moesuite.charts(shown), what === "first" ? 0 : CHARTS_WAIT);
    }
    function start() {
      view.restore();
      moesuite.drawControls();
      update("first");
    }
    document.getElementById("all").addEventListener("click", () => {
      state.all = true;
      update("sort");
    });
    addEventListener("hashchange", start);
    addEventListener("DOMContentLoaded", start);
    return { update };
  })(),
);
