// A study's page: front, history, parallel coordinates, quality over two parameters, importances, all
// trials.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const { el, scrollable, figure, scatter, lines, legend, json, copy, colour } = moesuite;
  const study = json("payload");
  const place = document.getElementById("study");
  const { names, max, done, isBetter, show, said, parallel, contour } = moesuite.trials(study);
  const runs = new Set(study.runs);
  const COSTS = { flops: "executed (GFLOP)", latency: "latency of a batch (ms)" };
  const POINTS_HELP = "Points are links to runs.";
  const section = (title, ...children) => place.append(el("h2", {}, title), ...children);
  const quiet = (text) => el("p", { class: "quiet" }, text);
  const pageOf = (run) => `../runs/${run}.html`;

  // Quality against each other objective, of the trials within the constraints.
  function showFront(objective) {
    const cost = COSTS[objective] ?? objective;
    const points = done
      .filter((trial) => !trial.violated.length)
      .map((trial) => ({
        x: trial.values[objective],
        y: trial.values.quality,
        kind: 0,
        key: String(trial.number),
        name: said(trial),
        href: runs.has(trial.run) ? pageOf(trial.run) : `#trial-${trial.number}`,
      }));
    if (!points.length) return;
    const tip = el("p", { class: "quiet", role: "status" }, POINTS_HELP);
    const svg = scatter(points, {
      max,
      xLabel: cost,
      yLabel: "quality",
      over: (point, text) => {
        tip.textContent = point ? text : POINTS_HELP;
      },
      label: `quality against ${cost}; the points of the front are links`,
    });
    section("Front", scrollable("Front", svg), tip);
  }

  function showHistory() {
    if (done.length < 2) return;
    const reached = done.map((trial) => [trial.number, trial.values.quality]);
    let best = reached[0][1];
    const bestSoFar = reached.map(([number, quality]) => {
      if (isBetter(quality, best)) best = quality;
      return [number, best];
    });
    const series = [
      { name: "each trial", kind: 0, points: reached },
      { name: "best so far", kind: 1, points: bestSoFar },
    ];
    const bounds = `from ${figure(bestSoFar[0][1])} to ${figure(best)}`;
    const label = `best quality so far by trial, ${bounds}`;
    const svg = lines(series, { xLabel: "trial", yLabel: "quality", label });
    section("History", scrollable("History", svg), legend(series));
  }

  function showParallel() {
    if (done.length < 2 || names.length < 2) return;
    const help = "A line for each trial, from blue for the worst quality to amber for the best.";
    section("Parallel coordinates", quiet(help), scrollable("Parallel coordinates", parallel()));
  }

  // Over the two parameters that decide the expert work, or else the first two that are numbers.
  function showContour() {
    const isNumber = (name) => done.every((trial) => typeof trial.params[name] === "number");
    const numeric = names.filter(isNumber);
    const first = ["slots_per_token", "num_experts"].filter((name) => numeric.includes(name));
    const pair = [...new Set([...first, ...numeric])].slice(0, 2);
    if (pair.length < 2 || done.length < 3) return;
    const help = "Between the trials, the mean of the nearest ones by inverse distance.";
    const plot = scrollable("Contour", contour(...pair));
    section(`Quality over ${pair.join(" and ")}`, quiet(help), plot);
  }

  function showImportances([objective, shares]) {
    const title = `Importance for ${objective}`;
    const rows = Object.entries(shares).map(([name, share]) => {
      const bar = el("rect", { width: 200 * share, height: 12, fill: colour(0) });
      const svg = el("svg", { width: 200, height: 12, role: "presentation" }, bar);
      const percent = el("td", { class: "n" }, `${figure(100 * share, 3)} %`);
      return el("tr", {}, el("th", { scope: "row" }, name), percent, el("td", {}, svg));
    });
    const caption = "Share of the variance that a parameter explains (fANOVA)";
    const table = el("table", {}, el("caption", {}, caption), el("tbody", {}, rows));
    section(title, scrollable(title, table));
  }

  function stateOf(trial) {
    const violated = trial.violated.length ? `, over ${trial.violated.join(", ")}` : "";
    const retry = trial.retry_of === null ? "" : `, again for ${trial.retry_of}`;
    const reason = trial.reason ? el("small", {}, ` ${trial.reason}`) : null;
    return el("td", {}, trial.state + violated + retry, reason);
  }
  function copyButton(trial) {
    if (!trial.command) return "–";
    const what = `the command of trial ${trial.number}`;
    const click = () => copy(trial.command, what);
    return el("button", { type: "button", "aria-label": `Copy ${what}`, click }, "Copy");
  }
  function trialRow(trial) {
    const number = (text) => el("td", { class: "n" }, text);
    const param = (name) => (name in trial.params ? show(trial.params[name]) : "–");
    const run = runs.has(trial.run)
      ? el("a", { href: pageOf(trial.run) }, trial.run)
      : trial.run || "–";
    return el(
      "tr",
      { id: `trial-${trial.number}` },
      el("th", { scope: "row" }, String(trial.number)),
      stateOf(trial),
      study.objectives.map((name) => number(figure(trial.values && trial.values[name]))),
      names.map((name) => number(param(name))),
      el("td", {}, run),
      el("td", {}, copyButton(trial)),
    );
  }
  function showTrials() {
    const heads = ["trial", "state", ...study.objectives, ...names, "run", "command"];
    const head = heads.map((text) => el("th", { scope: "col" }, text));
    const table = el(
      "table",
      {},
      el("caption", {}, `${study.trials.length} trials`),
      el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, study.trials.map(trialRow)),
    );
    section("Trials", scrollable("Trials", table));
  }

  if (done.length) {
    study.objectives.filter((name) => name !== "quality").forEach(showFront);
    showHistory();
    showParallel();
    showContour();
  }
  Object.entries(study.importances).forEach(showImportances);
  showTrials();
});
