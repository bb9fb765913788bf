// The trials of a study: their quality as a colour, and plots over the searched parameters.
"use strict";
moesuite.trials = (study) => {
  const { el, figure } = moesuite;
  const names = Object.keys(study.space);
  const max = study.directions.quality === "maximize";
  const done = study.trials.filter((trial) => trial.values);
  const qualities = done.map((trial) => trial.values.quality);
  const low = Math.min(...qualities);
  const high = Math.max(...qualities);

  const isBetter = (a, b) => (max ? a > b : a < b);
  // From 0 for the worst quality to 1 for the best.
  function rank(quality) {
    if (high === low) return 1;
    return (max ? quality - low : high - quality) / (high - low);
  }
  // From blue for the worst quality to amber for the best.
  const shade = (quality) => `hsl(${210 - 170 * rank(quality)} 70% ${40 + 8 * rank(quality)}%)`;
  const show = (value) => (typeof value === "number" ? figure(value) : String(value));
  function said(trial) {
    const known = names.filter((name) => name in trial.params);
    const params = known.map((name) => `${name} ${show(trial.params[name])}`).join(", ");
    return `trial ${trial.number}: ${params}`;
  }

  // The place of a value between 0 and 1: by logarithm where the space says so, categories in their
  // order. Where there is one value only, it stands in the middle.
  function axisOf(name) {
    const values = done.filter((trial) => name in trial.params).map((trial) => trial.params[name]);
    if (!values.every((value) => typeof value === "number")) return categories(values);
    const isLog = /^(tag\()?log\b/.test(study.space[name]);
    return interval(Math.min(...values), Math.max(...values), isLog);
  }
  function categories(values) {
    const known = [...new Set(values.map(String))].sort();
    const last = known.length - 1;
    const at = (value) => (last < 1 ? 0.5 : known.indexOf(String(value)) / last);
    return { at, ends: [known[0], known[last]] };
  }
  function interval(from, to, isLog = false) {
    const transform = isLog ? Math.log : (value) => value;
    const [first, last] = [transform(from), transform(to)];
    const at = (value) => (from === to ? 0.5 : (transform(value) - first) / (last - first));
    return { at, ends: [figure(from), figure(to)] };
  }

  const textAt = (x, y, anchor, words, more = {}) =>
    el("text", { x, y, "text-anchor": anchor, ...more }, words);
  const svgOf = (width, height, label, ...children) => {
    const viewBox = `0 0 ${width} ${height}`;
    return el("svg", { viewBox, width, height, role: "img", "aria-label": label }, ...children);
  };

  // A line for each trial over all parameters and the quality, the best trials on top.
  function parallel() {
    const [width, height] = [860, 300];
    const axes = [
      ...names.map((name) => [name, axisOf(name), (trial) => trial.params[name]]),
      ["quality", interval(low, high), (trial) => trial.values.quality],
    ];
    const x = (index) => 60 + (index * (width - 120)) / (axes.length - 1);
    const y = (share) => height - 40 - share * (height - 80);
    const byRank = [...done].sort((a, b) => rank(a.values.quality) - rank(b.values.quality));
    const paths = byRank.map((trial) => {
      const points = axes
        .map(([, axis, valueOf], index) => [x(index), axis, valueOf(trial)])
        .filter(([, , value]) => value !== undefined)
        .map(([at, axis, value]) => `${at},${y(axis.at(value))}`);
      const stroke = { stroke: shade(trial.values.quality), "stroke-width": 1.5 };
      const path = { points: points.join(" "), fill: "none", ...stroke };
      return el("polyline", path, el("title", {}, said(trial)));
    });
    const scales = axes.flatMap(([name, axis], index) => [
      el("line", { class: "axis", x1: x(index), x2: x(index), y1: 40, y2: height - 40 }),
      textAt(x(index), 18, "middle", name),
      textAt(x(index), 34, "middle", axis.ends[1]),
      textAt(x(index), height - 22, "middle", axis.ends[0]),
    ]);
    const label = `parallel coordinates of ${done.length} trials over ${names.join(", ")}`;
    return svgOf(width, height, label, paths, scales);
  }

  // Quality between the trials: the mean of the nearest ones by inverse distance.
  function qualityAt(points, u, v) {
    let sum = 0;
    let weights = 0;
    for (const point of points) {
      const weight = 1 / ((point.u - u) ** 2 + (point.v - v) ** 2 + 1e-3) ** 1.5;
      sum += weight * point.quality;
      weights += weight;
    }
    return sum / weights;
  }
  function contour(first, second) {
    const [width, height, cells] = [520, 360, 26];
    const [across, up] = [axisOf(first), axisOf(second)];
    const x = (share) => 60 + share * (width - 80);
    const y = (share) => height - 50 - share * (height - 70);
    const points = done.map((trial) => ({
      u: across.at(trial.params[first]),
      v: up.at(trial.params[second]),
      quality: trial.values.quality,
      trial,
    }));
    const size = { width: (width - 80) / cells + 0.5, height: (height - 70) / cells + 0.5 };
    const ground = Array.from({ length: cells ** 2 }, (_, index) => {
      const [i, j] = [Math.floor(index / cells), index % cells];
      const fill = shade(qualityAt(points, (i + 0.5) / cells, (j + 0.5) / cells));
      return el("rect", { x: x(i / cells), y: y((j + 1) / cells), ...size, fill });
    });
    const marks = points.map(({ u, v, quality, trial }) => {
      const style = { fill: shade(quality), stroke: "#fff", "stroke-width": 1.5 };
      const title = el("title", {}, `${said(trial)}: ${figure(quality)}`);
      return el("circle", { cx: x(u), cy: y(v), r: 5, ...style }, title);
    });
    const labels = [
      textAt(width / 2, height - 8, "middle", first),
      textAt(14, height / 2, "middle", second, { transform: `rotate(-90 14 ${height / 2})` }),
      ...across.ends.map((end, share) => textAt(x(share), height - 30, "middle", end)),
      ...up.ends.map((end, share) => textAt(54, y(share) + 4, "end", end)),
    ];
    const bounds = `from ${figure(low)} to ${figure(high)}`;
    const label = `quality over ${first} and ${second}, ${bounds}`;
    return svgOf(width, height, label, ground, marks, labels);
  }
  return { names, max, done, isBetter, show, said, parallel, contour };
};
