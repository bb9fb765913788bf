// A study's page: front or history, importances, parallel coordinates, quality over two parameters, and all trials.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const { el, figure, scatter, lines, json, copy, colour } = moesuite;
  const study = json("payload"), place = document.getElementById("study"), names = Object.keys(study.space);
  const max = study.directions.quality === "maximize", costs = study.objectives.filter((name) => name !== "quality"), runs = new Set(study.runs), done = study.trials.filter((trial) => trial.values);
  const region = (label, ...children) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, children);
  const section = (title, ...children) => place.append(el("h2", {}, title), ...children);
  const qualities = done.map((trial) => trial.values.quality), low = Math.min(...qualities), high = Math.max(...qualities);
  const good = (quality) => high === low ? 1 : max ? (quality - low) / (high - low) : (high - quality) / (high - low);
  const shade = (quality) => `hsl(${210 - 170 * good(quality)} 70% ${40 + 8 * good(quality)}%)`;  // blue to amber
  const said = (trial) => `trial ${trial.number}: ${names.filter((name) => name in trial.params).map((name) => `${name} ${show(trial.params[name])}`).join(", ")}`;
  const show = (value) => typeof value === "number" ? figure(value) : String(value);
  const href = (trial) => runs.has(trial.run) ? `../runs/${trial.run}.html` : `#trial-${trial.number}`;

  function tipped(draw) {
    const tip = el("p", { class: "quiet", role: "status" }, "Points are links to runs.");
    return [draw((point, text) => { tip.textContent = point ? text : "Points are links to runs."; }), tip];
  }
  if (done.length) {
    for (const objective of costs) {
      const points = done.filter((trial) => !trial.violated.length).map((trial) => ({ x: trial.values[objective], y: trial.values.quality, kind: 0, key: String(trial.number), name: said(trial), href: href(trial) }));
      const cost = objective === "flops" ? "GFLOP executed" : "latency of a batch, ms";
      if (points.length) section("Front", ...tipped((over) => region("Front", scatter(points, { max, xLabel: cost, yLabel: "quality", over, label: `quality against ${cost}; the points of the front are links` }))));
    }
    let best = null;
    const history = done.map((trial) => { best = best === null ? trial.values.quality : max ? Math.max(best, trial.values.quality) : Math.min(best, trial.values.quality); return [trial.number, best]; });
    if (done.length > 1) section("History", region("History", lines([{ name: "quality of each trial", kind: 0, points: done.map((trial) => [trial.number, trial.values.quality]) }, { name: "best so far", kind: 1, points: history }], { xLabel: "trial", yLabel: "quality", label: `best quality so far by trial, from ${figure(history[0][1])} to ${figure(best)}` })), moesuite.legend([{ name: "each trial", kind: 0 }, { name: "best so far", kind: 1 }]));
    if (done.length > 1 && names.length > 1) section("Parallel coordinates", el("p", { class: "quiet" }, "A line for each trial, from blue for the worst quality to amber for the best."), region("Parallel coordinates", parallel()));
    const numeric = names.filter((name) => done.every((trial) => typeof trial.params[name] === "number")), first = ["slots_per_token", "num_experts"];
    const pair = [...first.filter((name) => numeric.includes(name)), ...numeric.filter((name) => !first.includes(name))].slice(0, 2);
    if (pair.length === 2 && done.length > 2) section(`Quality over ${pair.join(" and ")}`, el("p", { class: "quiet" }, "Between the trials, the mean of the nearest ones by inverse distance."), region("Contour", contour(...pair)));
  }
  for (const [objective, shares] of Object.entries(study.importances)) {
    section(`Importance for ${objective}`, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Importance for ${objective}` }, el("table", {}, el("caption", {}, "Share of the variance that a parameter explains (fANOVA)"), el("tbody", {}, Object.entries(shares).map(([name, share]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "n" }, figure(100 * share, 3) + " %"), el("td", {}, el("svg", { width: 200, height: 12, role: "presentation" }, el("rect", { width: 200 * share, height: 12, fill: colour(0) })))))))));
  }
  section("Trials", region("Trials", el("table", {}, el("caption", {}, `${study.trials.length} trials`), el("thead", {}, el("tr", {}, ["trial", "state", ...study.objectives, ...names, "run", "command"].map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, study.trials.map((trial) => el("tr", { id: `trial-${trial.number}` },
    el("th", { scope: "row" }, String(trial.number)),
    el("td", {}, trial.state + (trial.violated.length ? `, over ${trial.violated.join(", ")}` : "") + (trial.retry_of === null ? "" : `, again for ${trial.retry_of}`), trial.reason ? el("small", {}, " " + trial.reason) : null),
    study.objectives.map((name) => el("td", { class: "n" }, figure(trial.values && trial.values[name]))),
    names.map((name) => el("td", { class: "n" }, name in trial.params ? show(trial.params[name]) : "–")),
    el("td", {}, runs.has(trial.run) ? el("a", { href: `../runs/${trial.run}.html` }, trial.run) : trial.run || "–"),
    el("td", {}, trial.command ? el("button", { type: "button", "aria-label": `Copy the command of trial ${trial.number}`, click: () => copy(trial.command, `the command of trial ${trial.number}`) }, "Copy") : "–")))))));

  // The place of a value on an axis from 0 to 1: by logarithm where the space says so, categories in their order.
  function axisOf(name) {
    const values = done.filter((trial) => name in trial.params).map((trial) => trial.params[name]), numeric = values.every((value) => typeof value === "number");
    if (!numeric) { const known = [...new Set(values.map(String))].sort(); return { at: (value) => known.length < 2 ? 0.5 : known.indexOf(String(value)) / (known.length - 1), ends: [known[0], known.at(-1)] }; }
    const f = /^(tag\()?log\b/.test(study.space[name]) ? Math.log : (value) => value, [a, b] = [Math.min(...values), Math.max(...values)];
    return { at: (value) => a === b ? 0.5 : (f(value) - f(a)) / (f(b) - f(a)), ends: [figure(a), figure(b)] };
  }
  function parallel() {
    const W = 860, H = 300, axes = [...names.map((name) => [name, axisOf(name), (trial) => trial.params[name]]), ["quality", { at: (value) => high === low ? 0.5 : (value - low) / (high - low), ends: [figure(low), figure(high)] }, (trial) => trial.values.quality]];
    const x = (i) => 60 + i * (W - 120) / (axes.length - 1), y = (share) => H - 40 - share * (H - 80);
    const svg = el("svg", { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "img", "aria-label": `parallel coordinates of ${done.length} trials over ${names.join(", ")}` });
    for (const trial of [...done].sort((p, q) => good(p.values.quality) - good(q.values.quality))) {
      const points = axes.map(([, axis, value], i) => value(trial) === undefined ? null : `${x(i)},${y(axis.at(value(trial)))}`).filter(Boolean);
      svg.append(el("polyline", { points: points.join(" "), fill: "none", stroke: shade(trial.values.quality), "stroke-width": 1.5 }, el("title", {}, said(trial))));
    }
    axes.forEach(([name, axis], i) => svg.append(el("line", { class: "axis", x1: x(i), x2: x(i), y1: 40, y2: H - 40 }), el("text", { x: x(i), y: 18, "text-anchor": "middle" }, name), el("text", { x: x(i), y: 34, "text-anchor": "middle" }, axis.ends[1]), el("text", { x: x(i), y: H - 22, "text-anchor": "middle" }, axis.ends[0])));
    return svg;
  }
  function contour(first, second) {
    const W = 520, H = 360, N = 26, [ax, ay] = [axisOf(first), axisOf(second)];
    const points = done.map((trial) => [ax.at(trial.params[first]), ay.at(trial.params[second]), trial.values.quality, trial]);
    const between = (u, v) => { let sum = 0, weight = 0; for (const [px, py, quality] of points) { const w = 1 / ((px - u) ** 2 + (py - v) ** 2 + 1e-3) ** 1.5; sum += w * quality; weight += w; } return sum / weight; };
    const svg = el("svg", { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "img", "aria-label": `quality over ${first} and ${second}, from ${figure(low)} to ${figure(high)}` });
    const x = (share) => 60 + share * (W - 80), y = (share) => H - 50 - share * (H - 70), wide = (W - 80) / N, tall = (H - 70) / N;
    for (let i = 0; i < N; i++) for (let j = 0; j < N; j++) svg.append(el("rect", { x: x(i / N), y: y((j + 1) / N), width: wide + 0.5, height: tall + 0.5, fill: shade(between((i + 0.5) / N, (j + 0.5) / N)) }));
    for (const [px, py, quality, trial] of points) svg.append(el("circle", { cx: x(px), cy: y(py), r: 5, fill: shade(quality), stroke: "#fff", "stroke-width": 1.5 }, el("title", {}, `${said(trial)}: ${figure(quality)}`)));
    svg.append(el("text", { x: W / 2, y: H - 8, "text-anchor": "middle" }, first), el("text", { x: 14, y: H / 2, transform: `rotate(-90 14 ${H / 2})`, "text-anchor": "middle" }, second));
    [[ax, (share, text) => el("text", { x: x(share), y: H - 30, "text-anchor": "middle" }, text)], [ay, (share, text) => el("text", { x: 54, y: y(share) + 4, "text-anchor": "end" }, text)]].forEach(([axis, label]) => svg.append(label(0, axis.ends[0]), label(1, axis.ends[1])));
    return svg;
  }
});
