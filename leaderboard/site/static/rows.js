// The contestants of a benchmark: the payload, which is by column and without repetitions, by row.
"use strict";
Object.assign(
  moesuite,
  (() => {
    const board = moesuite.json("payload");
    const SIZES = ["below 1 M", "1 M to 10 M", "10 M to 100 M", "100 M to 1 B", "1 B and more"];

    function sizeOf(parameters) {
      if (parameters === null) return "unknown";
      const place = Math.floor(Math.log10(Math.max(parameters, 1)) - 5);
      return SIZES[Math.min(SIZES.length - 1, Math.max(0, place))];
    }

    function rowOf(index) {
      const row = { ...board.constants, index, timings: {} };
      for (const [name, values] of Object.entries(board.columns)) row[name] = values[index];
      for (const name of board.text_columns) row[name] = board.texts[row[name]];
      row.labels = row.labels.map((label) => board.texts[label]);
      row.size = sizeOf(row.parameters_total);
      row.place = board.sections.indexOf(row.section);
      const words = [row.router, row.variant, row.backbone, row.setting, ...row.labels];
      row.words = words.join(" ").toLowerCase();
      return row;
    }

    // Join the times, which are kept by machine, to the rows.
    function addTimings(rows) {
      for (const [machine, { rows: numbers, ...columns }] of Object.entries(board.timings)) {
        const names = Object.keys(columns);
        numbers.forEach((number, at) => {
          const times = names.map((name) => [name, columns[name][at]]);
          rows[number].timings[machine] = Object.fromEntries(times);
        });
      }
    }

    // Number the routers, for colours and shapes.
    function addKinds(rows) {
      const routers = [...new Set(rows.map((row) => row.router))].sort();
      const kinds = new Map(routers.map((name, kind) => [name, kind]));
      for (const row of rows) row.kind = kinds.get(row.router);
    }

    const rows = Array.from({ length: board.count }, (_, index) => rowOf(index));
    addTimings(rows);
    addKinds(rows);
    return { board, rows };
  })(),
);
