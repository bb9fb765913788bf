// A run's page: figures, environment, curves, routing health, what the router looked at, and the whole record.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const { el, figure, count, lines, json, looked } = moesuite;
  const record = json("record"), place = document.getElementById("run");
  const table = (caption, heads, rows) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, i) => el(i ? "td" : "th", { class: i && typeof cell === "number" ? "n" : null, scope: i ? null : "row" }, typeof cell === "number" ? figure(cell) : cell ?? "–")))))));
  const section = (title, ...children) => place.append(el("h2", {}, title), ...children);
  const limited = record.limited_quality || {};

  if (Object.keys(record.quality).length) {
    section("Quality", table("On the test split", ["metric", "value", "at training capacity", "better", "examples"], Object.entries(record.quality).map(([name, q]) => [name, q.value, limited[name] ? limited[name].value : "–", q.direction === "max" ? "larger" : "smaller", String(q.n)])));
  }
  const compute = record.compute;
  if (compute) {
    const parts = ["backbone", "router", "dispatch_combine", "experts", "padding"], columns = ["activated", "executed", "training"];
    section("Cost", table("GFLOP of one example", ["part", ...columns], [...parts.map((part) => [part.replace("_", " and "), ...columns.map((name) => compute[name][part] / 1e9)]), ["total", ...columns.map((name) => parts.reduce((sum, part) => sum + compute[name][part], 0) / 1e9)]]),
      el("p", {}, `${count(compute.parameters_total)} parameters, ${count(compute.parameters_active)} active; ${figure(compute.slots_per_token_effective)} slots per token; peak memory ${figure(compute.peak_memory_bytes / 2 ** 30, 3)} GiB; training ${figure(record.seconds)} s in ${record.steps} steps, ${figure(record.waited)} s of them waiting for data.`, compute.uncounted && compute.uncounted.length ? ` No formula counts ${compute.uncounted.join(", ")}: FLOPs are a lower bound.` : ""));
    const timed = [["latency", compute.latency], ["training step", compute.training_step]].filter(([, timing]) => timing);
    if (timed.length) place.append(table(`Times of a batch of ${compute.batch_size}, ${compute.threads} threads, ${compute.device}`, ["what", "median, ms", "interquartile range, ms", "repeats", "dense, ms", "ratio"], timed.map(([name, t]) => [name, 1000 * t.median, 1000 * t.iqr, String(t.n), 1000 * t.dense_median, t.ratio_to_dense])));
  }
  if (record.curve && record.curve.length > 1) {
    const axes = { step: ["step", (p) => p.step], seconds: ["training seconds", (p) => p.seconds], flops: ["PFLOP of training", (p) => p.flops / 1e15] }, shown = el("div");
    const axis = el("select", { id: "axis", change: draw }, Object.entries(axes).map(([id, [label]]) => el("option", { value: id }, label)));
    function draw() {
      const [label, at] = axes[axis.value];
      shown.replaceChildren(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Learning curve" }, lines([{ name: record.primary, kind: 0, points: record.curve.map((p) => [at(p), p.quality]) }], { xLabel: label, yLabel: record.primary, label: `${record.primary} by ${label}, from ${figure(record.curve[0].quality)} to ${figure(record.curve.at(-1).quality)}` })));
    }
    section("Learning curve", el("p", {}, el("label", {}, "Against ", axis)), shown);
    draw();
    const health = record.curve.filter((p) => p.entropy !== null && p.entropy !== undefined);
    if (health.length > 1) section("Routing health over training", el("div", { class: "looks" }, [["load entropy", "entropy"], ["share unserved", "unserved"], ["dead experts", "dead"]].map(([label, key]) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, lines([{ name: label, kind: 1, points: health.map((p) => [p.step, p[key]]) }], { xLabel: "step", yLabel: label, label: `${label} by step, from ${figure(health[0][key])} to ${figure(health.at(-1)[key])}`, small: true })))));
  }
  if (record.health.length) {
    const bars = (load) => { const most = Math.max(...load); return el("svg", { viewBox: `0 0 ${load.length * 8} 40`, width: Math.min(load.length * 8, 512), height: 40, role: "img", "aria-label": "load by expert, in percent: " + load.map((share) => figure(100 * share, 2)).join(", ") }, load.map((share, i) => el("rect", { x: i * 8, y: 40 - 38 * share / most, width: 7, height: Math.max(1, 38 * share / most), fill: "#3b82d6" }, el("title", {}, `expert ${i}: ${figure(100 * share, 3)} %`)))); };
    section("Routing health by layer", table("On the test split", ["layer", "load by expert", "entropy", "unserved", "dead", "experts per token", "dropped under capacity", "refused under capacity"], record.health.map((layer) => [layer.layer, bars(layer.load), layer.entropy, layer.unserved, `${layer.dead} of ${layer.load.length}`, layer.pairs_per_token, layer.dropped_under_capacity, layer.refused_under_capacity])));
  }
  const found = json("looked"), shown = el("div");
  place.append(shown);
  section("Environment", table("Where it ran", ["what", "which"], Object.entries(record.environment)));
  document.getElementById("json").textContent = JSON.stringify(record, null, 1);
  if (found) looked(shown, found);
});
