// Quality against cost, and learning curves; both of the rows that the table shows.
"use strict";
Object.assign(moesuite, (() => {
  const { el, figure, scatter, lines, legend, board, rows, state } = moesuite;
  const MOST = 10;  // curves at once where none are selected
  const timing = (row, name) => (row.timings[state.machine] || {})[name] ?? null;
  const AXES = {
    executed: ["GFLOP executed", (row) => row.executed / 1e9],
    activated: ["GFLOP activated", (row) => row.activated / 1e9],
    latency: ["latency of a batch, ms", (row) => timing(row, "latency_ms")],
    step: ["training step, ms", (row) => timing(row, "step_ms")],
    total: ["parameters", (row) => row.parameters_total],
    active: ["parameters active", (row) => row.parameters_active],
    reach: ["seconds to reach the quality", (row) => reached(row)],
  };
  const CURVES = { step: ["step", 1], seconds: ["training seconds", 1], flops: ["PFLOP of training", 1e15] };
  let curves = null, asked = false;

  function load(then) {  // a script, because pages that open from a file may fetch nothing
    if (curves) return then();
    waiting.push(then);
    if (asked) return undefined;
    asked = true;
    document.head.append(el("script", { src: `../data/${board.slug}.curves.js` }));
    return undefined;
  }
  const waiting = [];
  function loaded(found) { curves = found; waiting.splice(0).forEach((then) => then()); }

  function target() {
    if (state.target !== "" && Number.isFinite(Number(state.target))) return Number(state.target);
    const finals = rows.map((row) => row.mean).sort((a, b) => a - b);
    return Number(figure(finals[Math.floor(finals.length / 2)], 3));
  }
  function reached(row) {
    const goal = target(), curve = (curves || {})[row.key], at = curve ? curve.quality.findIndex((quality) => board.max ? quality >= goal : quality <= goal) : -1;
    return at < 0 ? null : curve.seconds[at];
  }
  const several = (name) => { const first = new Map(), found = new Set(); for (const row of rows) { if (!first.has(row.router)) first.set(row.router, row[name]); else if (first.get(row.router) !== row[name]) found.add(row.router); } return found; };
  const variants = several("variant"), settings = several("setting");
  const nameOf = (row) => row.router + (variants.has(row.router) ? ` (${row.variant})` : "") + (settings.has(row.router) ? `, ${row.setting}` : "");

  function drawPlot(found) {
    const place = document.getElementById("plot");
    if (!Object.hasOwn(AXES, state.x)) state.x = "executed";
    if (state.x === "reach" && !curves) return load(() => drawPlot(found));
    const [xLabel, cost] = AXES[state.x];
    const points = found.map((row) => ({ x: cost(row), y: row.mean, half: row.half, kind: row.kind, key: row.key, setting: row.setting, ranked: row.group !== null || !(row.lookahead || row.labels.includes("a rerun gave another result")), name: nameOf(row), href: `../routers/${row.page}.html` })).filter((p) => p.x !== null && Number.isFinite(p.x) && p.x > 0);
    const fronts = [...new Set(points.map((p) => p.setting))].map((setting) => (p) => p.setting === setting && p.ranked);
    const tip = el("div", { class: "tip", hidden: true });
    const over = (point, said) => {
      tip.hidden = !point;
      for (const tr of document.querySelectorAll("tr.lit")) tr.classList.remove("lit");
      if (!point) return;
      tip.textContent = said;
      const tr = document.querySelector(`tr[data-key="${point.key}"]`);
      if (tr) tr.classList.add("lit");
    };
    const axis = el("select", { id: "axis", change: () => { state.x = axis.value; moesuite.remember(); drawPlot(found); } }, Object.entries(AXES).map(([id, [label]]) => el("option", { value: id, selected: id === state.x }, label)));
    const goal = el("input", { id: "target", inputmode: "decimal", size: 8, value: state.target || String(target()), change: () => { state.target = goal.value.trim(); moesuite.remember(); drawPlot(found); } });
    const missing = found.length - points.length;
    const focused = document.activeElement && document.activeElement.id;
    place.replaceChildren(
      el("p", {}, el("label", {}, "Against ", axis), " ", state.x === "reach" ? el("label", {}, ` of ${board.metric} `, goal) : null),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Plot of quality against cost" }, points.length ? scatter(points, { max: board.max, fronts, xLabel, yLabel: board.metric, over, label: `${board.metric} against ${xLabel}; the points of the front are links` }) : el("p", {}, "Nothing to draw: no row has this figure."), tip),
      el("p", { class: "quiet" }, "A line joins the Pareto front of each setting, without routers that see later tokens; bars are 95 % intervals.", missing ? ` ${missing} row${missing > 1 ? "s" : ""} without this figure ${missing > 1 ? "are" : "is"} not drawn.` : ""),
      legend([...new Map(points.map((p) => [p.kind, { kind: p.kind, name: found.find((row) => row.kind === p.kind).router }])).values()], true));
    if (["axis", "target"].includes(focused)) document.getElementById(focused)?.focus();
    return undefined;
  }

  function drawCurves(found) {
    const place = document.getElementById("curves");
    if (!Object.hasOwn(CURVES, state.cx)) state.cx = "step";
    if (!curves) return load(() => drawCurves(found));
    const [xLabel, unit] = CURVES[state.cx];
    const chosen = (state.selected.length ? found.filter((row) => state.selected.includes(row.key)) : found).filter((row) => curves[row.key] && curves[row.key].step.length > 1).slice(0, MOST);
    const alone = new Set(chosen.map((row) => row.kind)).size === chosen.length;  // else colours of routers would repeat
    const series = chosen.map((row, i) => ({ name: nameOf(row), kind: alone ? row.kind : i, points: curves[row.key][state.cx].map((x, at) => [x / unit, curves[row.key].quality[at]]) }));
    const axis = el("select", { id: "curve-axis", change: () => { state.cx = axis.value; moesuite.remember(); drawCurves(found); document.getElementById("curve-axis").focus(); } }, Object.entries(CURVES).map(([id, [label]]) => el("option", { value: id, selected: id === state.cx }, label)));
    place.replaceChildren(
      el("p", {}, el("label", {}, "At equal ", axis), el("span", { class: "quiet" }, state.selected.length ? " The selected rows, means over seeds." : ` The first ${MOST} rows of the table that have a curve, means over seeds; select rows to choose.`)),
      series.length ? el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Plot of learning curves" }, lines(series, { xLabel, yLabel: board.metric, label: `${board.metric} by ${xLabel}: ` + series.map((s) => `${s.name} ends at ${figure(s.points.at(-1)[1])}`).join(", ") })) : el("p", {}, "No curve was recorded for these rows."),
      legend(series));
    return undefined;
  }
  const charts = (found) => { drawPlot(found); drawCurves(found); };
  return { charts, curves: loaded };
})());
