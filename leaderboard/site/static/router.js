// Routing health over training, of a router on every task.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const { el, lines, legend, json } = moesuite;
  const { health } = json("payload"), place = document.getElementById("health");
  const series = (name) => health.filter((one) => one.step.length > 1).map((one, i) => ({ name: one.name, kind: i, points: one.step.map((step, at) => [100 * step / one.step.at(-1), one[name][at]]) }));
  if (!series("entropy").length) return;
  place.hidden = false;
  const charts = el("div", { class: "looks" });
  for (const [label, name] of [["load entropy", "entropy"], ["share unserved", "unserved"], ["dead experts", "dead"]]) {
    charts.append(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, lines(series(name), { xLabel: "share of the training, %", yLabel: label, label: `${label}, by share of the training`, small: true })));
  }
  place.lastElementChild.append(charts, legend(series("entropy")));
});
