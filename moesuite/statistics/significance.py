"""Paired differences, intervals, tie groups, Pareto front.

Runs of one seed share data order and initialisation, so differences are paired by seed: what all
routers of a seed have in common cancels. Student's t over seeds, from `ENOUGH` seeds on; below,
only points are shown. Many pairs are compared at once: p-values are corrected by Holm (1979,
https://www.jstor.org/stable/4615733). Differences without spread, as of a coarse metric, allow no
test: such a pair is a tie.
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
        half: half-width of the interval; None below `ENOUGH` seeds.
        p: two-sided p-value of a mean of 0; None likewise, and for values without spread.
        n: number of seeds.
    """

    mean: float
    half: float | None
    p: float | None
    n: int


def estimate(values: Sequence[float], enough: int = ENOUGH) -> Estimate:
    """Return the mean of values, one for each seed, with its t interval.

    Args:
        values: at least one, finite.
        enough: number of values that an interval needs, >= 2.

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
    """Return ours - theirs over shared seeds, or None without any."""
    shared = sorted(ours.keys() & theirs.keys())
    return estimate([ours[seed] - theirs[seed] for seed in shared]) if shared else None


def holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """Return p-values corrected by Holm's step-down rule, each at most 1."""
    worst, corrected = 0.0, {}
    for rank, name in enumerate(sorted(p, key=lambda key: p[key])):
        worst = max(worst, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = worst
    return {name: corrected[name] for name in p}


@dataclass(frozen=True)
class Pair:
    """Two routers that could be tested.

    Attributes:
        gap: mean over shared seeds of the quality of the first minus that of the second.
        p: two-sided p-value of no difference, corrected for all pairs.
    """

    gap: float
    p: float


def compared(values: Mapping[str, BySeed]) -> dict[tuple[str, str], Pair]:
    """Test all pairs of routers at once, by Holm's rule; each is returned in both orders.

    A pair with fewer than `ENOUGH` shared seeds, or whose differences have no spread, is left out.

    Args:
        values: quality by router and seed, at least one seed each.
    """
    names = sorted(values)
    if not names:
        return {}
    gaps, p = _pairs([values[name] for name in names])
    first, second = np.triu_indices(len(names), 1)
    known = ~np.isnan(p[first, second])
    pairs = [*zip(first[known].tolist(), second[known].tolist(), strict=True)]
    tested = holm(dict(zip(pairs, p[first, second][known].tolist(), strict=True)))
    results = dict[tuple[str, str], Pair]()
    for (i, j), corrected in tested.items():
        gap = float(gaps[i, j])
        results[names[i], names[j]] = Pair(gap, corrected)
        results[names[j], names[i]] = Pair(-gap, corrected)
    return results


def separated(values: Mapping[str, BySeed], level: float = LEVEL) -> set[tuple[str, str]]:
    """Return the pairs of routers, each in alphabetical order, that differ significantly."""
    return {
        names for names, pair in compared(values).items() if pair.p < level and names[0] < names[1]
    }


def tie_groups(values: Mapping[str, BySeed], direction: Direction) -> dict[str, int]:
    """Return the tie group of each router, from 1.

    The best router without a group leads the next group; all that it does not significantly beat
    join. A pair with fewer than `ENOUGH` shared seeds is a tie.

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
    pairs = compared(values)
    groups, waiting, number = dict[str, int](), names, 0
    while waiting:
        leader, number = waiting[0], number + 1
        # over shared seeds alone one of lower mean may be the better: that is no defeat
        beaten = [
            name
            for name in waiting
            if (pair := pairs.get((leader, name))) and pair.p < LEVEL and sign * pair.gap > 0
        ]
        groups |= {name: number for name in waiting if name not in beaten}
        waiting = beaten
    return groups


def _pairs(values: Sequence[BySeed]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean difference over shared seeds and its p-value (or NaN), for all pairs."""
    seeds = sorted({seed for row in values for seed in row})
    table = np.array(
        [[row.get(seed, np.nan) for seed in seeds] for row in values]
    )  # [routers, seeds]
    gaps = table[:, None] - table[None]
    shared = ~np.isnan(gaps)
    n = shared.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(shared, gaps, 0).sum(axis=2) / n
        error = np.sqrt(
            (np.where(shared, gaps - mean[..., None], 0) ** 2).sum(axis=2) / (n - 1) / n
        )
        t = np.abs(mean) / np.where(error > ROUNDING * np.abs(mean), error, np.nan)
    return mean, np.where(n >= ENOUGH, 2 * special.stdtr(np.maximum(n - 1, 1), -t), np.nan)


def pareto(costs: Sequence[float], qualities: Sequence[float], direction: Direction) -> list[bool]:
    """Return which points lie on the Pareto front.

    No other point is as cheap and as good, and better in one of the two.
    """
    sign = 1 if direction == "max" else -1
    points = [(cost, -sign * quality) for cost, quality in zip(costs, qualities, strict=True)]
    return [not any(o != p and o[0] <= p[0] and o[1] <= p[1] for o in points) for p in points]
