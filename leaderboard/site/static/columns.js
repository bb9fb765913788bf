// The columns of a benchmark's table: what each sorts by, and what it shows.
// Figures follow from their headers, which leaderboard/columns declares; here are only the columns
// that compare contestants or describe them.
"use strict";
moesuite.columns = (board, state) => {
  const { el, figure, signed, formats, missing } = moesuite;
  const NOT_CERTIFIED = "?";
  const SAID = {
    1: ["✓", "yes"],
    0: ["✗", "no"],
    "-": ["–", "does not arise"],
    [NOT_CERTIFIED]: ["?", "not certified with these options"],
  };

  // The value of a figure: of the chosen machine, where it differs by machine.
  function valueOf(header, row) {
    const values = header.per_machine ? row.timings[state.machine] : row;
    const value = values ? values[header.name] : null;
    if (missing(value) || !header.over) return missing(value) ? null : value;
    return row[header.over] ? value / row[header.over] : null;
  }
  function textOf(header, row) {
    const value = valueOf(header, row);
    if (value === null) return "–";
    const bound = header.bounded_by && row[header.bounded_by] ? "≥ " : "";
    return bound + formats[header.over ? "share" : header.format].text(value);
  }
  const ofFigure = (header) => ({
    value: (row) => valueOf(header, row),
    text: (row) => textOf(header, row),
  });

  const interval = (mean, half, show) =>
    show(mean) + (half === null ? "" : ` ± ${figure(half, 2)}`);

  // What a comparison rests on: seeds, the difference it could show, and the test of equality.
  function evidence(seeds, detectable, equal) {
    const parts = [`over ${seeds} seed${seeds === 1 ? "" : "s"} of both`];
    if (detectable !== null) parts.push(`a difference of ${figure(detectable, 2)} would show`);
    if (equal !== null) parts.push(`equal within ${figure(board.margin)}: p = ${figure(equal, 2)}`);
    return parts.join("; ");
  }

  function againstDense(row) {
    if (row.dense_mean === null) return "–";
    return interval(row.dense_mean, row.dense_half, signed);
  }
  function denseTitle(row) {
    if (row.dense_mean === null) return null;
    return evidence(row.dense_seeds, row.dense_detectable, row.dense_equal);
  }
  function againstBest(row) {
    if (row.group === null) return "–";
    return row.best_mean === null ? "the best" : row.best_verdict || "too few seeds";
  }
  function bestTitle(row) {
    if (row.best_mean === null) return null;
    const difference = interval(row.best_mean, row.best_half, signed);
    return `${difference} ${evidence(row.best_seeds, row.best_detectable, row.best_equal)}`;
  }

  const checks = Object.entries(board.checks);
  function certificate(row) {
    return checks.map(([name, [letter, meaning]]) => {
      const [sign, said] = SAID[row[name]];
      const title = `${meaning}: ${said}${row.stale ? "; certified under another protocol" : ""}`;
      return el("span", { title, role: "img", "aria-label": title }, `${letter}${sign} `);
    });
  }
  const certificateText = (row) =>
    checks.map(([name, [letter]]) => letter + SAID[row[name]][0]).join(" ");

  const notes = (row) =>
    state.machine && !row.timings[state.machine] ? [...row.labels, "other hardware"] : row.labels;
  // Labels that qualify the result stand out; some have a figure that says by how much.
  function label(row, text) {
    if (!Object.hasOwn(board.warnings, text)) return el("span", { class: "label" }, text);
    const share = row[board.warnings[text]];
    const title = share ? `${figure(100 * share)} % of the outputs` : null;
    return el("span", { class: "label warn", title }, text);
  }
  function linkToRun(row, run, index) {
    const seed = row.seeds[index];
    const said = `run of seed ${seed} of ${row.router}, ${run}`;
    return el("a", { href: `../runs/${run}.html`, "aria-label": said }, String(seed));
  }

  // What a column has: `value` to sort by, `text` for copies and comparison, `cell` for the table
  // where that is more than the text, `title` for the tooltip of a cell.
  const special = {
    router: {
      value: (row) => `${row.router} ${row.variant}`,
      text: (row) => row.router + (row.variant ? ` (${row.variant})` : ""),
      cell: (row) => [
        el("a", { href: `../routers/${row.page}.html` }, row.router),
        row.variant ? el("small", {}, ` ${row.variant}`) : null,
      ],
    },
    setting: { value: (row) => row.setting, text: (row) => row.setting },
    backbone: { value: (row) => row.backbone, text: (row) => row.backbone },
    quality: {
      label: board.metric + (board.max ? " ↑" : " ↓"),
      numeric: true,
      value: (row) => row.mean,
      text: (row) => interval(row.mean, row.half, figure),
    },
    seeds: {
      numeric: true,
      value: (row) => row.seeds.length,
      text: (row) => String(row.seeds.length),
    },
    dense: {
      numeric: true,
      value: (row) => row.dense_mean,
      text: againstDense,
      title: denseTitle,
    },
    against_dense: { value: (row) => row.dense_verdict, text: (row) => row.dense_verdict || "–" },
    group: {
      numeric: true,
      value: (row) => row.group,
      text: (row) => (row.group === null ? row.unranked : String(row.group)),
    },
    against_best: { value: againstBest, text: againstBest, title: bestTitle },
    detectable: {
      numeric: true,
      value: (row) => row.best_detectable,
      text: (row) => figure(row.best_detectable, 2),
    },
    data: { value: (row) => row.data, text: (row) => row.data },
    checks: { value: certificateText, text: certificateText, cell: certificate },
    labels: {
      value: (row) => notes(row).join(),
      text: (row) => notes(row).join("; "),
      cell: (row) => notes(row).flatMap((text) => [label(row, text), " "]),
    },
    runs: {
      value: (row) => row.runs.join(),
      text: (row) => row.runs.join(" "),
      cell: (row) => row.runs.flatMap((run, index) => [linkToRun(row, run, index), " "]),
    },
  };

  return board.headers
    .map((header) => ({ ...header, ...(special[header.name] ?? ofFigure(header)) }))
    .filter((column) => column.label); // figures without one only serve others
};
