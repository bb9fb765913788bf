// Quality against cost, and learning curves; both of the rows that the table shows.
"use strict";
Object.assign(
  moesuite,
  (() => {
    const { el, scrollable, figure, missing, formats, board, rows, state } = moesuite;
    const { scatter, lines, legend } = moesuite;
    const MAX_CURVES = 10; // at once, where none are selected

    // Axes of the plot by name: label, and the value of a row in the unit of the label.
    const REACH = "reach";
    const axisOf = (header) => {
      const { unit } = formats[header.format];
      const value = (row) => {
        const values = header.per_machine ? row.timings[state.machine] : row;
        return values && !missing(values[header.name]) ? values[header.name] / unit : null;
      };
      return [header.name, [header.label, value]];
    };
    const AXES = Object.fromEntries([
      ...board.headers.filter((header) => header.axis).map(axisOf),
      [REACH, ["seconds to reach the quality", (row) => reached(row)]],
    ]);
    const CURVES = {
      step: ["step", 1],
      seconds: ["training seconds", 1],
      flops: ["PFLOP of training", 1e15],
    };

    // Curves come as a script, because pages that open from a file may fetch nothing.
    let curves = null;
    let isLoading = false;
    const waiting = [];
    function load(then) {
      waiting.push(then);
      if (isLoading) return;
      isLoading = true;
      document.head.append(el("script", { src: `../data/${board.slug}.curves.js` }));
    }
    function loaded(columns) {
      curves = columns;
      waiting.splice(0).forEach((then) => then());
    }

    // The quality to reach: the reader's, or the median one.
    function target() {
      if (state.target !== "" && Number.isFinite(Number(state.target))) return Number(state.target);
      const finals = rows.map((row) => row.mean).sort((a, b) => a - b);
      return Number(figure(finals[Math.floor(finals.length / 2)], 3));
    }
    function reached(row) {
      const goal = target();
      const curve = (curves || {})[row.key];
      if (!curve) return null;
      const isReached = (quality) => (board.max ? quality >= goal : quality <= goal);
      const at = curve.quality.findIndex(isReached);
      return at < 0 ? null : curve.seconds[at];
    }

    // Routers that stand in the table with several options, or in several settings: their names then
    // say which.
    function routersWithSeveral(name) {
      const first = new Map();
      const several = new Set();
      for (const row of rows) {
        if (!first.has(row.router)) first.set(row.router, row[name]);
        else if (first.get(row.router) !== row[name]) several.add(row.router);
      }
      return several;
    }
    const severalVariants = routersWithSeveral("variant");
    const severalSettings = routersWithSeveral("setting");
    function nameOf(row) {
      const variant = severalVariants.has(row.router) ? ` (${row.variant})` : "";
      const setting = severalSettings.has(row.router) ? `, ${row.setting}` : "";
      return row.router + variant + setting;
    }

    const choiceOf = (id, options, chosen, change) =>
      el(
        "select",
        { id, change },
        Object.entries(options).map(([name, [label]]) =>
          el("option", { value: name, selected: name === chosen }, label),
        ),
      );

    // A point may be on the front if nothing qualifies its result.
    const qualifies = (row) =>
      row.group !== null || !row.labels.some((label) => Object.hasOwn(board.warnings, label));
    function pointsOf(shown, cost) {
      return shown
        .map((row) => ({
          x: cost(row),
          y: row.mean,
          half: row.half,
          kind: row.kind,
          key: row.key,
          setting: row.setting,
          qualifies: qualifies(row),
          name: nameOf(row),
          router: row.router,
          href: `../routers/${row.page}.html`,
        }))
        .filter((point) => point.x !== null && Number.isFinite(point.x) && point.x > 0);
    }

    // Show what a point is, and its row of the table.
    function showPoint(tip, point, said) {
      tip.hidden = !point;
      for (const tr of document.querySelectorAll("tr.lit")) tr.classList.remove("lit");
      if (!point) return;
      tip.textContent = said;
      document.querySelector(`tr[data-key="${point.key}"]`)?.classList.add("lit");
    }
    function plotOf(points, xLabel) {
      if (!points.length) return [el("p", {}, "Nothing to draw: no row has this figure.")];
      const tip = el("div", { class: "tip", hidden: true });
      const settings = [...new Set(points.map((point) => point.setting))];
      // contestants of different settings are not compared
      const fronts = settings.map(
        (setting) => (point) => point.setting === setting && point.qualifies,
      );
      const svg = scatter(points, {
        max: board.max,
        fronts,
        xLabel,
        yLabel: board.metric,
        over: (point, said) => showPoint(tip, point, said),
        label: `${board.metric} against ${xLabel}; the points of the front are links`,
      });
      return [svg, tip];
    }
    function plotNote(missingRows) {
      const rule =
        "A line joins the Pareto front of each setting, without routers that see later tokens; " +
        "bars are 95 % intervals.";
      if (!missingRows) return rule;
      const several = missingRows > 1;
      const subject = `${missingRows} row${several ? "s" : ""} without this figure`;
      return `${rule} ${subject} ${several ? "are" : "is"} not drawn.`;
    }
    function targetField(redraw) {
      const change = () => {
        state.target = field.value.trim();
        redraw();
      };
      const value = state.target || String(target());
      const field = el("input", { id: "target", inputmode: "decimal", size: 8, value, change });
      return el("label", {}, ` of ${board.metric} `, field);
    }

    function drawPlot(shown) {
      if (!Object.hasOwn(AXES, state.x)) state.x = "executed";
      if (state.x === REACH && !curves) {
        load(() => drawPlot(shown));
        return;
      }
      const redraw = () => {
        moesuite.remember();
        drawPlot(shown);
      };
      const [xLabel, cost] = AXES[state.x];
      const points = pointsOf(shown, cost);
      const axis = choiceOf("axis", AXES, state.x, () => {
        state.x = axis.value;
        redraw();
      });
      const kinds = new Map(points.map(({ kind, router }) => [kind, { kind, name: router }]));
      const focused = document.activeElement?.id;
      document
        .getElementById("plot")
        .replaceChildren(
          el(
            "p",
            {},
            el("label", {}, "Against ", axis),
            " ",
            state.x === REACH ? targetField(redraw) : null,
          ),
          scrollable("Plot of quality against cost", ...plotOf(points, xLabel)),
          el("p", { class: "quiet" }, plotNote(shown.length - points.length)),
          legend([...kinds.values()], true),
        );
      if (["axis", "target"].includes(focused)) document.getElementById(focused)?.focus();
    }

    // The rows whose curves are drawn: the selected ones, or else the first of the table.
    function rowsWithCurve(shown) {
      const chosen = state.selected.length
        ? shown.filter((row) => state.selected.includes(row.key))
        : shown;
      return chosen.filter((row) => curves[row.key]?.step.length > 1).slice(0, MAX_CURVES);
    }
    function seriesOf(chosen, unit) {
      const kinds = new Set(chosen.map((row) => row.kind));
      const isUnique = kinds.size === chosen.length; // else colours of routers would repeat
      return chosen.map((row, index) => {
        const curve = curves[row.key];
        const points = curve[state.cx].map((x, at) => [x / unit, curve.quality[at]]);
        return { name: nameOf(row), kind: isUnique ? row.kind : index, points };
      });
    }
    function curvesPlot(series, xLabel) {
      if (!series.length) return el("p", {}, "No curve was recorded for these rows.");
      const ends = series.map(({ name, points }) => `${name} ends at ${figure(points.at(-1)[1])}`);
      const label = `${board.metric} by ${xLabel}: ${ends.join(", ")}`;
      const svg = lines(series, { xLabel, yLabel: board.metric, label });
      return scrollable("Plot of learning curves", svg);
    }

    function drawCurves(shown) {
      if (!Object.hasOwn(CURVES, state.cx)) state.cx = "step";
      if (!curves) {
        load(() => drawCurves(shown));
        return;
      }
      const [xLabel, unit] = CURVES[state.cx];
      const series = seriesOf(rowsWithCurve(shown), unit);
      const axis = choiceOf("curve-axis", CURVES, state.cx, () => {
        state.cx = axis.value;
        moesuite.remember();
        drawCurves(shown);
        document.getElementById("curve-axis").focus();
      });
      const which = state.selected.length
        ? " The selected rows, means over seeds."
        : ` The first ${MAX_CURVES} rows of the table that have a curve, means over seeds; ` +
          "select rows to choose.";
      document
        .getElementById("curves")
        .replaceChildren(
          el("p", {}, el("label", {}, "At equal ", axis), el("span", { class: "quiet" }, which)),
          curvesPlot(series, xLabel),
          legend(series),
        );
    }
    const charts = (shown) => {
      drawPlot(shown);
      drawCurves(shown);
    };
    return { charts, curves: loaded };
  })(),
);
