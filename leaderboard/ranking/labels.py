"""Labels of a contestant: what a reader has to know before comparing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from moesuite.leaderboard.ingest.entry import Entry

LOOKAHEAD = "sees later tokens"
REFUTED = "a rerun gave another result"
# labels that qualify the result itself -> figure that says by how much
WARNINGS = {LOOKAHEAD: "lookahead", REFUTED: ""}
MIN_SEEDS = 3  # of a published row; fewer are labelled


def looks_ahead(entry: Entry) -> bool:
    """Return whether outputs of a run were measured to depend on later tokens."""
    return bool(entry.figures["lookahead"])


def labels(runs: Sequence[Entry]) -> Iterator[str]:
    """Yield the labels of how the runs of a contestant were made."""
    if any(map(looks_ahead, runs)):
        yield LOOKAHEAD
    if any(entry.git_dirty for entry in runs):
        yield "uncommitted code"
    if any(entry.git_commit is None for entry in runs):
        yield "unknown commit"
    for study in sorted({entry.study for entry in runs if entry.study}):
        yield f"tuned by {study}"


def labels_of_reruns(runs: Sequence[Entry]) -> Iterator[str]:
    """Yield the labels of how often, and with which result, the runs were repeated."""
    reproductions = [entry.reproductions for entry in runs]
    if min(reproductions) > 1:
        yield f"reproduced {min(reproductions)}x"
    elif max(reproductions) > 1:
        yield f"{sum(count > 1 for count in reproductions)} of {len(runs)} seeds reproduced"
    if verified := sum(entry.verified for entry in runs):
        yield f"verified {verified}x"
    if any(entry.refuted for entry in runs):
        yield REFUTED
    if len(runs) < MIN_SEEDS:
        yield f"{len(runs)} seed{'s' * (len(runs) > 1)}"
