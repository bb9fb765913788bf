// The columns of a benchmark's table: what each sorts by, and what it shows.
"use strict";
moesuite.columns = (board, state) => {
  const { el, figure, signed, count } = moesuite;
  const CHECKS = ["deterministic", "causal", "independent of the batch", "invariant to padding"];
  const SAID = { 1: ["✓", "yes"], 0: ["✗", "no"], "-": ["–", "does not arise"], "?": ["?", "not certified with these options"] };
  const giga = (row, value) => value === null ? "–" : (row.uncounted ? "≥ " : "") + figure(value / 1e9);
  const share = (value) => value === null ? "–" : figure(100 * value, 3) + " %";
  const timing = (row, which) => { const found = row.timings[state.machine]; return found ? found[which] : null; };
  const notes = (row) => state.machine && !row.timings[state.machine] ? [...row.labels, "other hardware"] : row.labels;
  const within = (mean, half, show) => show(mean) + (half === null ? "" : " ± " + figure(half, 2));
  const numeric = (id, label, value, text, more = {}) => ({ id, label, value, text: text || ((row) => figure(value(row))), numeric: true, ...more });

  function marks(row) {
    return [...row.checks].flatMap((mark, i) => {
      const [sign, said] = SAID[mark];
      const old = row.stale ? "; certified under another protocol" : "";
      return el("span", { title: `${CHECKS[i]}: ${said}${old}`, role: "img", "aria-label": `${CHECKS[i]}: ${said}${old}` }, "DCBP"[i] + sign + " ");
    });
  }
  return [
    { id: "router", label: "router", value: (row) => row.router + " " + row.variant, text: (row) => row.router + (row.variant ? ` (${row.variant})` : ""), cell: (row) => [el("a", { href: `../routers/${row.page}.html` }, row.router), row.variant ? el("small", {}, " " + row.variant) : null] },
    { id: "setting", label: "setting", value: (row) => row.setting, text: (row) => row.setting },
    { id: "backbone", label: "backbone", value: (row) => row.backbone, text: (row) => row.backbone },
    numeric("quality", board.metric + (board.max ? " ↑" : " ↓"), (row) => row.mean, (row) => within(row.mean, row.half, figure)),
    numeric("seeds", "seeds", (row) => row.values.length),
    numeric("apart", "difference to dense", (row) => row.apart && row.apart[0], (row) => row.apart ? within(row.apart[0], row.apart[1], signed) : "–"),
    numeric("group", "tie group", (row) => row.group, (row) => row.group === null ? row.unranked : String(row.group)),
    numeric("limited", "at training capacity", (row) => row.limited, null, { off: true }),
    numeric("activated", "GFLOP activated", (row) => row.activated, (row) => giga(row, row.activated)),
    numeric("executed", "GFLOP executed", (row) => row.executed, (row) => giga(row, row.executed)),
    numeric("latency", "latency / dense", (row) => timing(row, 0), (row) => figure(timing(row, 0), 3)),
    numeric("step", "step / dense", (row) => timing(row, 1), (row) => figure(timing(row, 1), 3)),
    numeric("active", "parameters active", (row) => row.active, (row) => count(row.active)),
    numeric("total", "total", (row) => row.total, (row) => count(row.total)),
    numeric("slots", "slots / token", (row) => row.slots, (row) => figure(row.slots, 3)),
    numeric("unserved", "unserved", (row) => row.unserved, (row) => share(row.unserved)),
    numeric("dropped_under_capacity", "dropped under capacity", (row) => row.dropped_under_capacity, (row) => share(row.dropped_under_capacity), { off: true }),
    numeric("dead", "dead", (row) => row.experts ? row.dead / row.experts : null, (row) => row.experts ? share(row.dead / row.experts) : "–"),
    numeric("entropy", "load entropy", (row) => row.entropy, null, { off: true }),
    { id: "checks", label: "certificate", value: (row) => row.checks, text: (row) => [...row.checks].map((mark, i) => "DCBP"[i] + SAID[mark][0]).join(" "), cell: marks },
    numeric("seconds", "training, s", (row) => row.seconds, null, { off: true }),
    { id: "labels", label: "notes", value: (row) => notes(row).join(), text: (row) => notes(row).join("; "), cell: (row) => notes(row).flatMap((label) => [el("span", { class: label === "sees later tokens" ? "label warn" : "label", title: label === "sees later tokens" ? `${figure(100 * row.lookahead)} % of the outputs` : null }, label), " "]) },
    { id: "runs", label: "runs", value: (row) => row.runs.join(), text: (row) => row.runs.join(" "), cell: (row) => row.runs.flatMap((run, i) => [el("a", { href: `../runs/${run}.html`, "aria-label": `run of seed ${row.values[i][0]} of ${row.router}, ${run}` }, String(row.values[i][0])), " "]) },
  ];
};
