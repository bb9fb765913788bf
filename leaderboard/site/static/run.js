// A run's page: figures, curves, routing health, routing of examples, environment, the whole record.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const { el, scrollable, figure, count, missing, lines, json, looked } = moesuite;
  const record = json("record");
  const place = document.getElementById("run");
  const section = (title, ...children) => place.append(el("h2", {}, title), ...children);

  function cellOf(cell, index) {
    const isNumber = typeof cell === "number";
    const attributes = { class: index && isNumber ? "n" : null, scope: index ? null : "row" };
    return el(index ? "td" : "th", attributes, isNumber ? figure(cell) : (cell ?? "–"));
  }
  function table(caption, heads, rows) {
    const head = heads.map((text) => el("th", { scope: "col" }, text));
    const body = rows.map((row) => el("tr", {}, row.map(cellOf)));
    const parts = [el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)];
    return scrollable(caption, el("table", {}, el("caption", {}, caption), parts));
  }

  function showQuality() {
    if (!Object.keys(record.quality).length) return;
    const heads = ["metric", "value", "at training capacity", "better", "examples"];
    const rows = Object.entries(record.quality).map(([name, quality]) => {
      const limited = record.limited_quality[name];
      const better = quality.direction === "max" ? "larger" : "smaller";
      return [name, quality.value, limited ? limited.value : "–", better, String(quality.n)];
    });
    section("Quality", table("On the test split", heads, rows));
  }

  const PARTS = ["backbone", "router", "dispatch_combine", "experts", "padding"];
  const PASSES = ["activated", "executed", "training"];
  function costTable(compute) {
    const total = (pass) => PARTS.reduce((sum, part) => sum + compute[pass][part], 0);
    const rows = PARTS.map((part) => [
      part.replace("_", " and "),
      ...PASSES.map((pass) => compute[pass][part] / 1e9),
    ]);
    const sums = ["total", ...PASSES.map((pass) => total(pass) / 1e9)];
    return table("GFLOP of one example", ["part", ...PASSES], [...rows, sums]);
  }
  function costText(compute) {
    const total = count(compute.parameters_total);
    const active = count(compute.parameters_active);
    const sentences = [
      [
        `${total} parameters, ${active} active`,
        `${figure(compute.slots_per_token_effective)} slots per token`,
        `peak memory ${figure(compute.peak_memory_bytes / 2 ** 30, 3)} GiB`,
        `training ${figure(record.seconds)} s in ${record.steps} steps, ` +
          `of which ${figure(record.waited)} s waiting for data`,
      ].join("; "),
    ];
    if (compute.uncounted.length) {
      const operations = compute.uncounted.join(", ");
      sentences.push(`No formula counts ${operations}: FLOPs are a lower bound`);
    }
    return `${sentences.join(". ")}.`;
  }
  function timeTable(compute) {
    const measured = [
      ["latency", compute.latency],
      ["training step", compute.training_step],
    ].filter(([, timing]) => timing);
    if (!measured.length) return null;
    const { batch_size: batch, threads, device } = compute;
    const caption = `Times of a batch of ${batch}, ${threads} threads, ${device}`;
    const heads = [
      "what",
      "median, ms",
      "interquartile range, ms",
      "repeats",
      "dense, ms",
      "ratio",
    ];
    const rows = measured.map(([name, timing]) => [
      name,
      1000 * timing.median,
      1000 * timing.iqr,
      String(timing.n),
      1000 * timing.dense_median,
      timing.ratio_to_dense,
    ]);
    return table(caption, heads, rows);
  }
  function showCost() {
    const { compute } = record;
    if (!compute) return;
    section("Cost", costTable(compute), el("p", {}, costText(compute)));
    const times = timeTable(compute);
    if (times) place.append(times);
  }

  const AXES = {
    step: ["step", (point) => point.step],
    seconds: ["training seconds", (point) => point.seconds],
    flops: ["PFLOP of training", (point) => point.flops / 1e15],
  };
  function learningCurve(label, at) {
    const points = record.curve.map((point) => [at(point), point.quality]);
    const ends = `from ${figure(points[0][1])} to ${figure(points.at(-1)[1])}`;
    const about = { xLabel: label, yLabel: record.primary };
    const svg = lines([{ name: record.primary, kind: 0, points }], {
      ...about,
      label: `${record.primary} by ${label}, ${ends}`,
    });
    return scrollable("Learning curve", svg);
  }
  function showCurve() {
    if (record.curve.length < 2) return;
    const shown = el("div");
    const draw = () => shown.replaceChildren(learningCurve(...AXES[axis.value]));
    const options = Object.entries(AXES).map(([id, [label]]) => el("option", { value: id }, label));
    const axis = el("select", { id: "axis", change: draw }, options);
    section("Learning curve", el("p", {}, el("label", {}, "Against ", axis)), shown);
    draw();
  }

  const HEALTH = { entropy: "load entropy", unserved: "share unserved", dead: "dead experts" };
  function showHealthCurves() {
    const known = record.curve.filter((point) => !missing(point.entropy));
    if (known.length < 2) return;
    const charts = Object.entries(HEALTH).map(([name, label]) => {
      const points = known.map((point) => [point.step, point[name]]);
      const ends = `from ${figure(points[0][1])} to ${figure(points.at(-1)[1])}`;
      const about = { xLabel: "step", yLabel: label, label: `${label} by step, ${ends}` };
      return scrollable(
        label,
        lines([{ name: label, kind: 1, points }], { ...about, small: true }),
      );
    });
    section("Routing health over training", el("div", { class: "looks" }, charts));
  }

  function loadBars(load) {
    const HEIGHT = 40;
    const most = Math.max(...load);
    const bars = load.map((share, expert) => {
      const height = (38 * share) / most;
      const place = { x: expert * 8, y: HEIGHT - height, width: 7 };
      const title = el("title", {}, `expert ${expert}: ${figure(100 * share, 3)} %`);
      return el("rect", { ...place, height: Math.max(1, height), fill: "#3b82d6" }, title);
    });
    const percents = load.map((share) => figure(100 * share, 2)).join(", ");
    const attributes = {
      viewBox: `0 0 ${load.length * 8} ${HEIGHT}`,
      width: Math.min(load.length * 8, 512),
      height: HEIGHT,
      role: "img",
      "aria-label": `load by expert, in percent: ${percents}`,
    };
    return el("svg", attributes, bars);
  }
  function showHealth() {
    if (!record.health.length) return;
    const heads = [
      ...["layer", "load by expert", "entropy", "unserved", "dead", "experts per token"],
      ...["dropped under capacity", "refused under capacity"],
    ];
    const rows = record.health.map((layer) => [
      layer.layer,
      loadBars(layer.load),
      layer.entropy,
      layer.unserved,
      `${layer.dead} of ${layer.load.length}`,
      layer.pairs_per_token,
      layer.dropped_under_capacity,
      layer.refused_under_capacity,
    ]);
    section("Routing health by layer", table("On the test split", heads, rows));
  }

  showQuality();
  showCost();
  showCurve();
  showHealthCurves();
  showHealth();
  const examples = el("div");
  place.append(examples);
  const environment = Object.entries(record.environment);
  section("Environment", table("Where it ran", ["what", "which"], environment));
  document.getElementById("json").textContent = JSON.stringify(record, null, 1);
  const routing = json("looked");
  if (routing) looked(examples, routing);
});
