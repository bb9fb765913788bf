// The selected contestants side by side: differences within shared seeds, and all columns.
"use strict";
Object.assign(
  moesuite,
  (() => {
    const { el, scrollable, figure, signed, rows, state, view } = moesuite;
    const bySeed = (row) => row.seeds.map((seed, i) => [seed, row.values[i]]);

    function difference(row, base) {
      const values = new Map(bySeed(base));
      const differences = bySeed(row)
        .filter(([seed]) => values.has(seed))
        .map(([seed, value]) => value - values.get(seed));
      if (!differences.length) return "no shared seed";
      const mean = differences.reduce((a, b) => a + b) / differences.length;
      return `${signed(mean)} over ${differences.length} seed${differences.length > 1 ? "s" : ""}`;
    }
    const qualities = (row) =>
      bySeed(row)
        .map(([seed, value]) => `${seed}: ${figure(value)}`)
        .join(", ");

    function tableOf(chosen) {
      const line = (name, show) => {
        const cells = chosen.map((row) => el("td", {}, show(row)));
        return el("tr", {}, el("th", { scope: "row" }, name), cells);
      };
      const heads = chosen.map((row) => el("th", { scope: "col" }, `${row.router} ${row.variant}`));
      const compared = view.columns.filter((column) => !["router", "runs"].includes(column.name));
      const caption = "Differences are to the first one selected, within shared seeds";
      return el(
        "table",
        {},
        el("caption", {}, caption),
        el("thead", {}, el("tr", {}, el("td"), heads)),
        el(
          "tbody",
          {},
          line("difference", (row) => (row === chosen[0] ? "–" : difference(row, chosen[0]))),
          line("by seed", qualities),
          compared.map((column) => line(column.label, column.text)),
        ),
      );
    }

    function drawComparison() {
      const section = document.getElementById("compare");
      const chosen = state.selected.map((key) => rows.find((row) => row.key === key));
      section.hidden = !chosen.length;
      if (!chosen.length) return;
      const region = scrollable("Selected contestants", tableOf(chosen));
      section.lastElementChild.replaceChildren(region);
    }
    return { drawComparison };
  })(),
);
