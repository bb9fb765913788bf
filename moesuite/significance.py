"""Is it better, or is it noise? Paired differences, intervals, tie groups, duels, Pareto front. No torch here.

Runs of one seed share data order and initialisation, so differences are taken within a seed; what all routers of a seed
have in common cancels. Student's t over seeds, from `ENOUGH` of them on: below that only points are shown. Many pairs
are compared at once: p-values are corrected by Holm (1979, https://www.jstor.org/stable/4615733).
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
RESAMPLES = 1000  # of bootstraps
NEWTON_STEPS = 50  # far more than are needed
Direction = Literal["max", "min"]
Name = TypeVar("Name", bound=Hashable)
BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its interval.

    Attributes:
        mean: of the values.
        half: half the width of the interval; None for fewer than `ENOUGH` seeds.
        p: two-sided, of the mean being 0; None likewise.
        n: seeds.
    """

    mean: float
    half: float | None
    p: float | None
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of values, one for each seed, with its t interval.

    Args:
        values: at least one, finite.

    Raises:
        ValueError: without a value, or with one that is not finite.
    """
    given = np.asarray(values, dtype=float)
    if given.size == 0 or not np.isfinite(given).all():
        raise ValueError(f"{list(values)}: allowed is at least one number, all of them finite")
    mean = float(given.mean())
    if given.size < ENOUGH:
        return Estimate(mean, None, None, given.size)
    error = float(given.std(ddof=1)) / math.sqrt(given.size)
    if error == 0:
        return Estimate(mean, 0.0, float(mean == 0), given.size)
    p = 2 * special.stdtr(given.size - 1, -abs(mean) / error)
    return Estimate(mean, float(special.stdtrit(given.size - 1, 1 - LEVEL / 2)) * error, float(p), given.size)


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

    The best of all those not yet in a group leads the next. A pair that shares fewer than `ENOUGH` seeds is a tie.

    Args:
        values: quality by router and seed, at least one seed each.
        direction: of the quality.
    """
    sign = 1 if direction == "max" else -1
    names = sorted(values, key=lambda name: (-sign * float(np.mean(list(values[name].values()))), name))
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
        beaten = [i for i in waiting if corrected.get((leader, i), 1.0) < LEVEL and sign * apart[leader, i] > 0]
        groups |= {names[i]: number for i in waiting if i not in beaten}
        waiting = beaten
    return groups


def _pairs(values: Sequence[BySeed]) -> tuple[np.ndarray, np.ndarray]:
    """Return for all pairs the mean difference over shared seeds, and its p-value, NaN below `ENOUGH` of them."""
    seeds = sorted({seed for row in values for seed in row})
    table = np.array([[row.get(seed, np.nan) for seed in seeds] for row in values])  # [routers, seeds]
    apart = table[:, None] - table[None]
    shared = ~np.isnan(apart)
    n = shared.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(shared, apart, 0).sum(axis=2) / n
        error = np.sqrt((np.where(shared, apart - mean[..., None], 0) ** 2).sum(axis=2) / (n - 1) / n)
        t = np.where(error > 0, np.abs(mean) / error, np.where(mean == 0, 0, np.inf))
    return mean, np.where(n >= ENOUGH, 2 * special.stdtr(np.maximum(n - 1, 1), -t), np.nan)


def pareto(costs: Sequence[float], qualities: Sequence[float], direction: Direction) -> list[bool]:
    """Return which points lie on the front: no other one is as cheap and as good, and better in one of both."""
    sign = 1 if direction == "max" else -1
    points = [(cost, -sign * quality) for cost, quality in zip(costs, qualities, strict=True)]
    return [not any(o != p and o[0] <= p[0] and o[1] <= p[1] for o in points) for p in points]


@dataclass(frozen=True)
class Strength:
    """Of a router in duels: log-odds against the average one, with the interval of a bootstrap over duels' contests."""

    value: float
    low: float
    high: float


def bradley_terry(contests: Sequence[Mapping[str, float]], seed: int = 0) -> dict[str, Strength]:
    """Return how strong routers are, from who beats whom in each contest, a (task, seed).

    Bradley and Terry (1952), https://doi.org/10.2307/2334029: P(a beats b) = σ(s_a - s_b). A tie is half a win of each.
    Every pair that met has half a win of each beside, so that who always wins stays finite.

    Args:
        contests: of each, quality by router, larger is better.
        seed: of the bootstrap.
    """
    names = sorted({name for contest in contests for name in contest})
    wins = np.stack([_wins(contest, names) for contest in contests]) if contests else np.zeros((0, 0, 0))
    if len(names) < 2 or not wins.any():
        return {name: Strength(0.0, 0.0, 0.0) for name in names}
    drawn = np.random.default_rng(seed).multinomial(len(wins), np.full(len(wins), 1 / len(wins)), size=RESAMPLES)
    (value,) = _strengths(wins.sum(axis=0, keepdims=True), np.zeros(len(names)))
    resampled = _strengths((drawn @ wins.reshape(len(wins), -1)).reshape(-1, len(names), len(names)), value)
    low, high = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return {name: Strength(*map(float, row)) for name, *row in zip(names, value, low, high, strict=True)}


def _wins(contest: Mapping[str, float], names: list[str]) -> np.ndarray:
    """Return the wins of each (row) over each (column) in one contest."""
    values = np.array([contest.get(name, np.nan) for name in names])
    ahead = values[:, None] - values[None, :]
    won = np.where(ahead > 0, 1.0, np.where(ahead == 0, 0.5, 0.0))
    np.fill_diagonal(won, 0.0)
    return won


def _strengths(wins: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the strengths of largest likelihood, their mean 0, for many tables of wins [R, N, N] at once: [R, N].

    Newton's steps from `start` [N], none longer than 1 in any strength, so that the first ones do not overshoot.
    """
    wins = wins + 0.5 * ((wins + wins.swapaxes(1, 2)) > 0)
    met, strength = wins + wins.swapaxes(1, 2), np.tile(start, (len(wins), 1))
    pull = 1e-6 * np.eye(wins.shape[1])  # to 0, of strengths that no duel tells
    for _ in range(NEWTON_STEPS):
        chance = special.expit(strength[:, :, None] - strength[:, None, :])
        slope = (wins - met * chance).sum(axis=2) - 1e-6 * strength
        bend = met * chance * (1 - chance)
        curvature = np.eye(wins.shape[1]) * bend.sum(axis=2)[:, :, None] - bend + pull
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        strength += step / np.maximum(1, np.abs(step).max(axis=1, keepdims=True))
        if np.abs(step).max() < 1e-6:
            break
    return strength - strength.mean(axis=1, keepdims=True)
