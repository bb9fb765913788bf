// Routing health over training, of a router on every task.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const { el, lines, legend, json } = moesuite;
  const { health } = json("payload"), place = document.getElementById("health");
  const series = (at) => health.filter((one) => one.points.length > 1).map((one, i) => ({ name: one.name, kind: i, points: one.points.map((p) => [100 * p[0] / one.points.at(-1)[0], p[at]]) }));
  if (!series(1).length) return;
  place.hidden = false;
  const charts = el("div", { class: "looks" });
  for (const [label, at] of [["load entropy", 1], ["share unserved", 2], ["dead experts", 3]]) {
    charts.append(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, lines(series(at), { xLabel: "share of the training, %", yLabel: label, label: `${label}, by share of the training`, small: true })));
  }
  place.lastElementChild.append(charts, legend(series(1)));
});
