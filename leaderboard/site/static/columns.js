// The columns of a benchmark's table: what each sorts by, and what it shows.
"use strict";
moesuite.columns = (board, state) => {
  const { el, figure, signed, count } = moesuite;
  const CHECKS = { deterministic: ["D", "deterministic"], causal: ["C", "causal"], batch_independent: ["B", "independent of the batch"], padding_invariant: ["P", "invariant to padding"] };
  const SAID = { 1: ["✓", "yes"], 0: ["✗", "no"], "-": ["–", "does not arise"], "?": ["?", "not certified with these options"] };
  const warned = ["sees later tokens", "a rerun gave another result"];
  const giga = (row, value) => value === null ? "–" : (row.uncounted ? "≥ " : "") + figure(value / 1e9);
  const share = (value) => value === null ? "–" : figure(100 * value, 3) + " %";
  const timing = (row, name) => { const times = row.timings[state.machine]; return times ? times[name] : null; };
  const notes = (row) => state.machine && !row.timings[state.machine] ? [...row.labels, "other hardware"] : row.labels;
  const within = (mean, half, show) => show(mean) + (half === null ? "" : " ± " + figure(half, 2));
  const numeric = (id, label, value, text, more = {}) => ({ id, label, value, text: text || ((row) => figure(value(row))), numeric: true, ...more });
  const seeds = (count) => `over ${count} seed${count === 1 ? "" : "s"} of both`;
  const could = (detectable, equal) => (detectable === null ? "" : `; a difference of ${figure(detectable, 2)} would show`) + (equal === null ? "" : `; equal within ${figure(board.margin)}: p = ${figure(equal, 2)}`);
  const toBest = (row) => row.group === null ? "–" : row.best_mean === null ? "the best" : row.best_verdict || "too few seeds";

  function marks(row) {
    return Object.entries(CHECKS).flatMap(([name, [letter, meaning]]) => {
      const [sign, said] = SAID[row[name]];
      const title = `${meaning}: ${said}${row.stale ? "; certified under another protocol" : ""}`;
      return el("span", { title, role: "img", "aria-label": title }, letter + sign + " ");
    });
  }
  const marksText = (row) => Object.entries(CHECKS).map(([name, [letter]]) => letter + SAID[row[name]][0]).join(" ");
  return [
    { id: "router", label: "router", value: (row) => row.router + " " + row.variant, text: (row) => row.router + (row.variant ? ` (${row.variant})` : ""), cell: (row) => [el("a", { href: `../routers/${row.page}.html` }, row.router), row.variant ? el("small", {}, " " + row.variant) : null] },
    { id: "setting", label: "setting", value: (row) => row.setting, text: (row) => row.setting },
    { id: "backbone", label: "backbone", value: (row) => row.backbone, text: (row) => row.backbone },
    numeric("quality", board.metric + (board.max ? " ↑" : " ↓"), (row) => row.mean, (row) => within(row.mean, row.half, figure)),
    numeric("seeds", "seeds", (row) => row.seeds.length),
    numeric("dense", "difference to dense", (row) => row.dense_mean, (row) => row.dense_mean === null ? "–" : within(row.dense_mean, row.dense_half, signed), { title: (row) => row.dense_mean === null ? null : seeds(row.dense_seeds) + could(row.dense_detectable, row.dense_equal) }),
    { id: "against_dense", label: "against dense", value: (row) => row.dense_verdict, text: (row) => row.dense_verdict || "–", about: "better or worse: a difference is shown; equal: it is shown to be below the margin; open: neither" },
    numeric("group", "tie group", (row) => row.group, (row) => row.group === null ? row.unranked : String(row.group)),
    { id: "against_best", label: "against the best", value: (row) => toBest(row), text: toBest, title: (row) => row.best_mean === null ? null : `${within(row.best_mean, row.best_half, signed)} ${seeds(row.best_seeds)}${could(row.best_detectable, row.best_equal)}`, about: "of its tie groups; worse: a difference is shown; equal: it is shown to be below the margin; open: neither" },
    numeric("detectable", "would show", (row) => row.best_detectable, (row) => figure(row.best_detectable, 2), { about: "smallest true difference to the best that would be shown with a chance of 80 %" }),
    numeric("limited", "at training capacity", (row) => row.limited, null, { off: true }),
    numeric("activated", "GFLOP activated", (row) => row.activated, (row) => giga(row, row.activated)),
    numeric("executed", "GFLOP executed", (row) => row.executed, (row) => giga(row, row.executed)),
    numeric("latency", "latency / dense", (row) => timing(row, "latency_ratio"), (row) => figure(timing(row, "latency_ratio"), 3)),
    numeric("step", "step / dense", (row) => timing(row, "step_ratio"), (row) => figure(timing(row, "step_ratio"), 3)),
    numeric("active", "parameters active", (row) => row.parameters_active, (row) => count(row.parameters_active)),
    numeric("total", "total", (row) => row.parameters_total, (row) => count(row.parameters_total)),
    numeric("slots", "slots / token", (row) => row.slots, (row) => figure(row.slots, 3)),
    numeric("unserved", "unserved", (row) => row.unserved, (row) => share(row.unserved)),
    numeric("dropped_under_capacity", "dropped under capacity", (row) => row.dropped_under_capacity, (row) => share(row.dropped_under_capacity), { off: true }),
    numeric("dead", "dead", (row) => row.experts ? row.dead / row.experts : null, (row) => row.experts ? share(row.dead / row.experts) : "–"),
    numeric("entropy", "load entropy", (row) => row.entropy, null, { off: true }),
    { id: "checks", label: "certificate", value: marksText, text: marksText, cell: marks },
    numeric("seconds", "training, s", (row) => row.seconds, null, { off: true }),
    { id: "labels", label: "notes", value: (row) => notes(row).join(), text: (row) => notes(row).join("; "), cell: (row) => notes(row).flatMap((label) => [el("span", { class: warned.includes(label) ? "label warn" : "label", title: label === "sees later tokens" ? `${figure(100 * row.lookahead)} % of the outputs` : null }, label), " "]) },
    { id: "runs", label: "runs", value: (row) => row.runs.join(), text: (row) => row.runs.join(" "), cell: (row) => row.runs.flatMap((run, i) => [el("a", { href: `../runs/${run}.html`, "aria-label": `run of seed ${row.seeds[i]} of ${row.router}, ${run}` }, String(row.seeds[i])), " "]) },
  ];
};
