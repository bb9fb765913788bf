// A benchmark's table: facets, search, sorting by several columns, columns to choose, rows to compare. All of it stands in the address.
"use strict";
Object.assign(moesuite, (() => {
  const { el, figure, signed, copy, tell, json } = moesuite;
  const FIRST = 100, AT_ONCE = 40;  // rows that are shown before one asks for all; that are drawn before anything else happens
  const board = json("payload");
  const rows = Array.from({ length: board.count }, (_, index) => {
    const row = { ...board.constants, index, timings: {} };
    for (const [name, values] of Object.entries(board.columns)) row[name] = values[index];
    for (const name of board.text_columns) row[name] = board.texts[row[name]];
    row.labels = row.labels.map((label) => board.texts[label]);
    row.size = row.parameters_total === null ? "unknown" : ["below 1 M", "1 M to 10 M", "10 M to 100 M", "100 M to 1 B", "1 B and more"][Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(row.parameters_total || 1, 1)) - 5)))];
    row.place = board.sections.indexOf(row.section);
    row.words = [row.router, row.variant, row.backbone, row.setting, ...row.labels].join(" ").toLowerCase();
    return row;
  });
  for (const [machine, { rows: numbers, ...columns }] of Object.entries(board.timings)) {
    numbers.forEach((number, at) => { rows[number].timings[machine] = Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[at]])); });
  }
  const kinds = new Map([...new Set(rows.map((row) => row.router))].sort().map((name, i) => [name, i]));
  for (const row of rows) row.kind = kinds.get(row.router);

  const usual = (list) => { const counts = new Map(); for (const value of list) counts.set(value, (counts.get(value) || 0) + 1); return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([value]) => value); };
  const machines = usual(rows.flatMap((row) => Object.keys(row.timings)));
  const FACETS = { setting: "Setting", backbone: "Backbone", size: "Size", router: "Router" };
  const state = { sort: [], q: "", facets: { setting: [], backbone: [], size: [], router: [] }, machine: machines[0] || "", only: false, columns: [], selected: [], x: "executed", target: "", cx: "step", all: false };
  const columns = moesuite.columns(board, state);
  const usualColumns = columns.filter((column) => !column.off).map((column) => column.id);
  state.columns = usualColumns;

  function restore() {
    const given = new URLSearchParams(location.hash.slice(1)), list = (key) => (given.get(key) || "").split("~").filter(Boolean);
    state.sort = list("sort").map((word) => [word.slice(0, -1), word.endsWith("-") ? -1 : 1]).filter(([id]) => columns.some((column) => column.id === id));
    state.q = given.get("q") || "";
    for (const name of Object.keys(FACETS)) { const known = new Set(rows.map((row) => row[name])); state.facets[name] = list(name).filter((value) => known.has(value)); }
    state.machine = machines.includes(given.get("machine")) ? given.get("machine") : machines[0] || "";
    state.columns = given.has("columns") ? list("columns").filter((id) => columns.some((column) => column.id === id)) : usualColumns;
    state.selected = list("select").filter((key) => rows.some((row) => row.key === key));
    state.x = given.get("x") || "executed";
    state.cx = given.get("cx") || "step";
    state.target = given.get("target") || "";
    state.only = given.get("only") === "1";
    state.all = given.get("all") === "1";
  }
  function remember() {
    const given = new URLSearchParams(), put = (key, value, usually) => { if (value !== usually && value !== "") given.set(key, value); };
    put("sort", state.sort.map(([id, way]) => id + (way < 0 ? "-" : "+")).join("~"));
    put("q", state.q);
    for (const name of Object.keys(FACETS)) put(name, state.facets[name].join("~"));
    put("machine", state.machine, machines[0]);
    put("only", state.only ? "1" : "");
    put("columns", state.columns.join("~"), usualColumns.join("~"));
    put("select", state.selected.join("~"));
    put("x", state.x, "executed");
    put("cx", state.cx, "step");
    put("target", state.target);
    put("all", state.all ? "1" : "");
    history.replaceState(null, "", given.size ? "#" + given : location.pathname + location.search);
  }

  function visible() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = rows.filter((row) => (!state.only || row.timings[state.machine]) && words.every((word) => row.words.includes(word)) && Object.entries(state.facets).every(([name, chosen]) => !chosen.length || chosen.includes(row[name])));
    const by = state.sort.map(([id, way]) => [columns.find((column) => column.id === id), way]);
    const empty = (value) => value === null || value === undefined || value === "";
    return kept.sort((a, b) => {
      if (a.place !== b.place) return a.place - b.place;  // controls and other settings never head the table
      for (const [column, way] of by) {
        const [p, q] = [column.value(a), column.value(b)];
        if (empty(p) || empty(q)) { if (empty(p) !== empty(q)) return empty(p) ? 1 : -1; continue; }  // what is missing comes last, whichever way
        if (p !== q) return way * (p < q ? -1 : 1);
      }
      return a.index - b.index;
    });
  }
  const shownColumns = () => columns.filter((column) => state.columns.includes(column.id));

  const table = document.getElementById("table");
  let made = new Map(), madeFor = "";
  function rowOf(row) {
    if (!made.has(row.key)) {
      const box = el("input", { type: "checkbox", "aria-label": `select ${row.router} ${row.variant}`, change: () => { state.selected = box.checked ? [...state.selected, row.key] : state.selected.filter((key) => key !== row.key); update("select"); box.focus(); } });
      made.set(row.key, el("tr", { "data-key": row.key }, el("td", {}, box), shownColumns().map((column, i) => el(i ? "td" : "th", { class: column.numeric ? "n" : null, scope: i ? null : "row", title: column.title ? column.title(row) : null }, column.cell ? column.cell(row) : column.text(row)))));
    }
    const tr = made.get(row.key);
    tr.firstChild.firstChild.checked = state.selected.includes(row.key);
    return tr;
  }
  // Rows, and a heading before the first of each section.
  function withHeadings(found, from, to) {
    return found.slice(from, to).flatMap((row, i) => {
      const before = found[from + i - 1], starts = board.sections.length > 1 && (!before || before.place !== row.place);
      return [...(starts ? [el("tr", { class: "section" }, el("th", { scope: "rowgroup", colspan: shownColumns().length + 1 }, row.section))] : []), rowOf(row)];
    });
  }
  function head() {
    const cells = shownColumns().map((column) => {
      const at = state.sort.findIndex(([id]) => id === column.id), way = at < 0 ? 0 : state.sort[at][1];
      const sign = way ? (way > 0 ? " ▲" : " ▼") + (state.sort.length > 1 ? at + 1 : "") : "";
      return el("th", { scope: "col", "aria-sort": way > 0 ? "ascending" : way < 0 ? "descending" : null }, el("button", { type: "button", "data-column": column.id, title: (column.about ? column.about + ". " : "") + "Sort; with Shift: after the columns that are sorted by", click: (event) => sortBy(column, event.shiftKey) }, column.label + sign));
    });
    table.tHead.replaceChildren(el("tr", {}, el("td", {}, el("span", { class: "hidden" }, "select")), cells));
  }
  function sortBy(column, further) {
    const at = state.sort.findIndex(([id]) => id === column.id);
    const first = column.id === "quality" || column.id === "dense" ? (board.max ? -1 : 1) : 1;
    const next = at < 0 ? first : state.sort[at][1] === first ? -first : 0;
    if (!further) state.sort = next ? [[column.id, next]] : [];
    else if (at < 0) state.sort.push([column.id, next]);
    else if (next) state.sort[at][1] = next;
    else state.sort.splice(at, 1);
    update("sort");
    table.tHead.querySelector(`[data-column="${column.id}"]`).focus();
    tell(state.sort.length ? "sorted by " + state.sort.map(([id, way]) => `${columns.find((c) => c.id === id).label}, ${way > 0 ? "ascending" : "descending"}`).join(", then ") : "in the order of settings and quality");
  }
  function body(found) {
    const key = state.columns.join() + state.machine;
    if (key !== madeFor) { made = new Map(); madeFor = key; }
    table.tBodies[0].remove();  // with all its rows at once: one by one takes longer
    table.append(el("tbody", {}, withHeadings(found, 0, AT_ONCE)));
    clearTimeout(growing);
    grow(state.all ? found : found.slice(0, FIRST), AT_ONCE);
    const more = document.getElementById("all");
    more.hidden = state.all || found.length <= FIRST;
    more.textContent = `Show all ${found.length} rows`;
    document.getElementById("count").textContent = `${found.length} of ${rows.length} contestants${more.hidden ? "" : `, ${FIRST} of them shown`}`;
  }

  let growing = 0;
  function grow(found, from) {  // the first rows answer at once; the others follow, a part at a time
    if (from >= found.length) return;
    growing = setTimeout(() => { table.tBodies[0].append(...withHeadings(found, from, from + FIRST)); grow(found, from + FIRST); });
  }

  function compare() {
    const section = document.getElementById("compare"), chosen = state.selected.map((key) => rows.find((row) => row.key === key));
    section.hidden = !chosen.length;
    if (!chosen.length) return;
    const bySeed = (row) => row.seeds.map((seed, i) => [seed, row.values[i]]), base = Object.fromEntries(bySeed(chosen[0]));
    const apart = (row) => { const own = bySeed(row).filter(([seed]) => seed in base).map(([seed, value]) => value - base[seed]); return own.length ? `${signed(own.reduce((a, b) => a + b) / own.length)} over ${own.length} seed${own.length > 1 ? "s" : ""}` : "no seed of both"; };
    const line = (name, show) => el("tr", {}, el("th", { scope: "row" }, name), chosen.map((row) => el("td", {}, show(row))));
    section.lastElementChild.replaceChildren(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Selected contestants" }, el("table", {}, el("caption", {}, "Differences are to the first one selected, within shared seeds"), el("thead", {}, el("tr", {}, el("td"), chosen.map((row) => el("th", { scope: "col" }, `${row.router} ${row.variant}`)))), el("tbody", {}, line("difference", (row) => row === chosen[0] ? "–" : apart(row)), line("by seed", (row) => bySeed(row).map(([seed, value]) => `${seed}: ${figure(value)}`).join(", ")), columns.filter((column) => !["router", "runs"].includes(column.id)).map((column) => line(column.label, column.text))))));
  }

  const cells = () => [shownColumns().map((column) => column.label), ...visible().map((row) => shownColumns().map((column) => column.text(row)))];
  const markdown = () => { const [first, ...rest] = cells().map((line) => "| " + line.map((cell) => cell.replaceAll("|", "\\|")).join(" | ") + " |"); return [first, "|" + shownColumns().map((column) => column.numeric ? "---:" : "---").join("|") + "|", ...rest].join("\n") + "\n"; };
  const tex = (text) => text.replace(/[\\{}&%$#_^~]/g, (sign) => ({ "\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}" })[sign] || "\\" + sign).replaceAll("±", "$\\pm$").replaceAll("−", "$-$").replaceAll("≥", "$\\geq$").replaceAll("↑", "$\\uparrow$").replaceAll("↓", "$\\downarrow$").replaceAll("✓", "\\checkmark{}").replaceAll("✗", "$\\times$");
  const latex = () => { const [first, ...rest] = cells().map((line) => line.map(tex).join(" & ") + " \\\\"); return ["\\begin{tabular}{" + shownColumns().map((column) => column.numeric ? "r" : "l").join("") + "}", "\\toprule", first, "\\midrule", ...rest, "\\bottomrule", "\\end{tabular}"].join("\n") + "\n"; };

  function choice(title, names, chosen, changed) {
    const summary = el("summary"), tally = () => { summary.textContent = title + (chosen().length && title !== "Columns" ? ` (${chosen().length})` : ""); };
    tally();
    return el("details", {}, summary, el("fieldset", {}, el("legend", { class: "hidden" }, title), names.map(([id, label]) => el("label", {}, el("input", { type: "checkbox", value: id, checked: chosen().includes(id), change: (event) => { changed(id, event.target.checked); tally(); } }), " " + label))));
  }
  function controls() {
    const place = document.getElementById("controls");
    const search = el("input", { type: "search", id: "search", value: state.q, input: () => { state.q = search.value; update("filter"); } });
    const facets = Object.entries(FACETS).map(([name, title]) => [title, name, [...new Set(rows.map((row) => row[name]))].sort()]).filter(([, , values]) => values.length > 1);
    place.replaceChildren(el("div", { class: "controls" },
      el("label", {}, "Search ", search),
      facets.map(([title, name, values]) => choice(title, values.map((value) => [value, value]), () => state.facets[name], (value, on) => { state.facets[name] = on ? [...state.facets[name], value] : state.facets[name].filter((other) => other !== value); update("filter"); })),
      machines.length ? el("label", {}, "Times of ", el("select", { id: "machine", change: (event) => { state.machine = event.target.value; update("all"); } }, machines.map((name) => el("option", { value: name, selected: name === state.machine }, name)))) : null,
      machines.length > 1 ? el("label", {}, el("input", { type: "checkbox", id: "only", checked: state.only, change: (event) => { state.only = event.target.checked; update("filter"); } }), " hide other hardware") : null,
      choice("Columns", columns.map((column) => [column.id, column.label]), () => state.columns, (id, on) => { state.columns = columns.map((column) => column.id).filter((other) => other === id ? on : state.columns.includes(other)); update("all"); }),
      el("button", { type: "button", click: () => copy(markdown(), "the table as Markdown") }, "Copy as Markdown"),
      el("button", { type: "button", click: () => copy(latex(), "the table as LaTeX") }, "Copy as LaTeX"),
      el("button", { type: "button", click: () => { location.hash = ""; } }, "Reset the view")));
  }

  // Between which bounds a dense model's times lie, over those of the dense model beside it.
  function noise() {
    const ratios = board.noise[state.machine] || {}, between = (name, one) => `${name} ${figure(one.least, 3)} to ${figure(one.most, 3)} times (${one.runs} run${one.runs > 1 ? "s" : ""}, median ${figure(one.median, 3)})`;
    const parts = [["latency", ratios.latency], ["step", ratios.step]].filter(([, one]) => one).map(([name, one]) => between(name, one));
    document.getElementById("noise").textContent = parts.length ? `Noise of times: a dense model takes, over the dense model measured beside it, ${parts.join(", ")}.` : "";
  }

  // Draw what a change has an effect on; charts wait, so that the table answers at once.
  let waiting = 0;
  function update(what) {
    const found = visible();
    head();
    body(found);
    compare();
    noise();
    remember();
    if (what !== "sort") { clearTimeout(waiting); waiting = setTimeout(() => moesuite.charts(found), what === "first" ? 0 : 80); }
  }
  function start() { restore(); controls(); update("first"); }
  document.getElementById("all").addEventListener("click", () => { state.all = true; update("sort"); });
  addEventListener("hashchange", start);
  addEventListener("DOMContentLoaded", start);
  return { board, rows, state, visible, remember, markdown, latex };
})());
