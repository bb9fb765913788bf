"""Columns that compare contestants, or describe them: no figures of a run; the pages know them."""

from __future__ import annotations

from moesuite.leaderboard.columns.column import Column

_OPEN = "open: neither is shown"
_EQUAL = "equal: the difference is shown to be below the margin"

COMPARISON = (
    Column("router", "router", "router with its options"),
    Column("setting", "setting", "what contestants share: task, backbone, optimizer, budget"),
    Column("backbone", "backbone", "model whose MLPs were replaced"),
    Column("quality", "", "mean over seeds with its 95 % interval, from five seeds on"),
    Column("seeds", "seeds", "number of seeds"),
    Column("dense", "difference to dense", "mean over seeds of the difference within a seed"),
    Column(
        "against_dense",
        "against dense",
        f"better or worse: a difference is shown; {_EQUAL}; {_OPEN}",
    ),
    Column("group", "tie group", "1 holds the best and all that it is not shown to be better than"),
    Column(
        "against_best",
        "against the best",
        f"the best of its setting; worse: a difference is shown; {_EQUAL}; {_OPEN}",
    ),
    Column(
        "detectable",
        "detectable",
        "smallest true difference to the best that the test shows with a power of 80 %",
    ),
)
NOTES = (
    Column("data", "data", "what was read, and what is held out", shown=False),
    Column(
        "checks",
        "certificate",
        "D deterministic, C causal, B independent of the batch, P invariant to padding",
    ),
    Column("labels", "notes", "what to know before comparing"),
    Column("runs", "runs", "by seed"),
)
