// Routing health over training, of a router on every task.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const { el, scrollable, lines, legend, json } = moesuite;
  const place = document.getElementById("health");
  const health = json("payload").health.filter((task) => task.step.length > 1);
  const CHARTS = { entropy: "load entropy", unserved: "share unserved", dead: "dead experts" };

  function seriesOf(figure) {
    return health.map((task, kind) => {
      const share = (step) => (100 * step) / task.step.at(-1);
      const points = task.step.map((step, at) => [share(step), task[figure][at]]);
      return { name: task.name, kind, points };
    });
  }
  function chart([figure, label]) {
    const svg = lines(seriesOf(figure), {
      xLabel: "share of the training, %",
      yLabel: label,
      label: `${label}, by share of the training`,
      small: true,
    });
    return scrollable(label, svg);
  }
  if (!health.length) return;
  place.hidden = false;
  const charts = el("div", { class: "looks" }, Object.entries(CHARTS).map(chart));
  place.lastElementChild.append(charts, legend(seriesOf("entropy")));
});
