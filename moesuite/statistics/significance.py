"""Is it better, or is it noise? Paired differences, intervals, tie groups, Pareto front. No torch here.

Runs of one seed share data order and initialisation, so differences are taken within a seed; what
all routers of a seed have in common cancels. Student's t over seeds, from `ENOUGH` of them on:
below that only points are shown. Many pairs are compared at once: p-values are corrected by Holm
(1979, https://www.jstor.org/stable/4615733). Differences without any spread, as of a metric of few
steps, allow no test: their pair is not shown to be apart.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from scipy import special

ENOUGH = 5  # seeds for an interval
LEVEL = 0.05  # of tests; intervals hold with 1 - LEVEL
ROUNDING = 1e-9  # relative spread that is none
Direction = Literal["max", "min"]
Name = TypeVar("Name", bound=Hashable)
BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its interval.

    Attributes:
        mean: of the values.
        half: half the width of the interval; None for fewer than `ENOUGH` seeds.
        p: two-sided, of the mean being 0; None likewise, and for values without any spread.
        n: seeds.
    """

    mean: float
    half: float | None
    p: float | None
    n: int


def estimate(values: Sequence[float], enough: int = ENOUGH) -> Estimate:
    """Return the mean of values, one for each seed, with its t interval.

    Args:
        values: at least one, finite.
        enough: number of values from which on there is an interval; at least 2.

    Raises:
        ValueError: without a value, or with one that is not finite.
    """
    array = np.asarray(values, dtype=float)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{list(values)}: allowed is at least one number, all of them finite")
    mean = float(array.mean())
    if array.size < enough:
        return Estimate(mean, None, None, array.size)
    error = float(array.std(ddof=1)) / math.sqrt(array.size)
    if error <= ROUNDING * abs(mean):
        return Estimate(mean, 0.0, None, array.size)
    p = 2 * special.stdtr(array.size - 1, -abs(mean) / error)
    return Estimate(
        mean, float(special.stdtrit(array.size - 1, 1 - LEVEL / 2)) * error, float(p), array.size
    )


def difference(ours: BySeed, theirs: BySeed) -> Estimate | None:
    """Return ours - theirs over the seeds that both have; None if there is none."""
    shared = sorted(ours.keys() & theirs.keys())
    return estimate([ours[seed] - theirs[seed] for seed in shared]) if shared else None


def holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """Return p-values corrected for their number by Holm's step-down rule, each at most 1."""
    worst, corrected = 0.0, {}
    for rank, name in enumerate(sorted(p, key=lambda key: p[key])):
        worst = max(worst, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = worst
    return {name: corrected[name] for name in p}


def tie_groups(values: Mapping[str, BySeed], direction: Direction) -> dict[str, int]:
    """Return the group of each router, from 1: in a group are those that its best is not shown to be better than.

    The best of all those not yet in a group leads the next. A pair that shares fewer than `ENOUGH`
    seeds is a tie.

    Args:
        values: quality by router and seed, at least one seed each.
        direction: of the quality.
    """
    sign = 1 if direction == "max" else -1
    names = sorted(
        values, key=lambda name: (-sign * float(np.mean(list(values[name].values()))), name)
    )
    if not names:
        return {}
    apart, p = _pairs([values[name] for name in names])
    first, second = np.triu_indices(len(names), 1)
    known = ~np.isnan(p[first, second])
    pairs = [*zip(first[known].tolist(), second[known].tolist(), strict=True)]
    corrected = holm(dict(zip(pairs, p[first, second][known].tolist(), strict=True)))
    groups, waiting, number = dict[str, int](), list(range(len(names))), 0
    while waiting:
        leader, number = waiting[0], number + 1
        # over shared seeds alone one of lower mean may be the better: that is no defeat
        beaten = [
            i
            for i in waiting
            if corrected.get((leader, i), 1.0) < LEVEL and sign * apart[leader, i] > 0
        ]
        groups |= {names[i]: number for i in waiting if i not in beaten}
        waiting = beaten
    return groups


def _pairs(values: Sequence[BySeed]) -> tuple[np.ndarray, np.ndarray]:
    """Return for all pairs the mean difference over shared seeds, and its p-value, NaN where there is no test."""
    seeds = sorted({seed for row in values for seed in row})
    table = np.array(
        [[row.get(seed, np.nan) for seed in seeds] for row in values]
    )  # [routers, seeds]
    apart = table[:, None] - table[None]
    shared = ~np.isnan(apart)
    n = shared.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(shared, apart, 0).sum(axis=2) / n
        error = np.sqrt(
            (np.where(shared, apart - mean[..., None], 0) ** 2).sum(axis=2) / (n - 1) / n
        )
        t = np.abs(mean) / np.where(error > ROUNDING * np.abs(mean), error, np.nan)
    return mean, np.where(n >= ENOUGH, 2 * special.stdtr(np.maximum(n - 1, 1), -t), np.nan)


def pareto(costs: Sequence[float], qualities: Sequence[float], direction: Direction) -> list[bool]:
    """Return which points lie on the front: no other one is as cheap and as good, and better in one of both."""
    sign = 1 if direction == "max" else -1
    points = [(cost, -sign * quality) for cost, quality in zip(costs, qualities, strict=True)]
    return [not any(o != p and o[0] <= p[0] and o[1] <= p[1] for o in points) for p in points]
