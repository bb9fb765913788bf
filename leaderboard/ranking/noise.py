"""The noise of times: what a dense model takes over the matched dense model that was measured beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from moesuite.leaderboard.ingest.entry import Entry
from moesuite.records.compute import StrictModel


class Spread(StrictModel):
    """Ratios that would all be 1 without noise."""

    least: float
    median: float
    most: float
    runs: int


class Noise(StrictModel):
    """Of the times of one machine; None: not measured."""

    latency: Spread | None
    step: Spread | None


def noise_of(entries: Iterable[Entry]) -> dict[str, Noise]:
    """Return the noise of times by machine, from the finished runs of dense models."""
    by_machine: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.router == "dense":
            by_machine[entry.hardware].append(entry)
    return {
        machine: Noise(
            latency=_spread([run.timings.latency_ratio for run in runs]),
            step=_spread([run.timings.step_ratio for run in runs]),
        )
        for machine, runs in sorted(by_machine.items())
    }


def _spread(ratios: Sequence[float | None]) -> Spread | None:
    known = [ratio for ratio in ratios if ratio is not None]
    return (
        Spread(least=min(known), median=median(known), most=max(known), runs=len(known))
        if known
        else None
    )
