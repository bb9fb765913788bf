"""Noise of times: dense models over the matched dense model that was measured beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from moesuite.leaderboard import columns
from moesuite.leaderboard.columns.column import Value
from moesuite.leaderboard.ingest.entry import Entry
from moesuite.records.compute import StrictModel


class Spread(StrictModel):
    """Ratios that would all be 1 without noise."""

    least: float
    median: float
    most: float
    runs: int


def noise_of(entries: Iterable[Entry]) -> dict[str, dict[str, Spread]]:
    """Return the noise of times by machine and column, from the finished runs of dense models."""
    by_machine: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.router == "dense":
            by_machine[entry.hardware].append(entry)
    return {machine: _spreads(runs) for machine, runs in sorted(by_machine.items())}


def _spreads(runs: Sequence[Entry]) -> dict[str, Spread]:
    spreads = {
        column.name: _spread([run.figures[column.name] for run in runs])
        for column in columns.figures()
        if column.spread
    }
    return {name: spread for name, spread in spreads.items() if spread is not None}


def _spread(ratios: Sequence[Value]) -> Spread | None:
    known = [ratio for ratio in ratios if ratio is not None]
    if not known:
        return None
    return Spread(least=min(known), median=median(known), most=max(known), runs=len(known))
