"""Order of routers over tasks, if there are enough tasks.

An order generalises to tasks like these, so a task is one observation, however many seeds it has:
runs of one task are not independent. The difference of each pair of routers is averaged over the
shared seeds of a task, and Student's t is taken over tasks. This is valid for few tasks of unequal
variance: Ibragimov and Müller (2010), https://doi.org/10.1198/jbes.2009.08046. All pairs are tested
at once by Holm's rule; the best and worst rank of a router follow from the pairs that differ
significantly: Mogstad, Romano, Shaikh and Wilhelm (2024), https://doi.org/10.1093/restud/rdad006.

Null hypothesis of a pair: over tasks its difference is normal around 0, with any variance in each
task; whatever the routers of a task have in common is arbitrary. Then a wrong pair is declared on
at most 5 % of boards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from moesuite.statistics.equivalence import Comparison, compare
from moesuite.statistics.significance import LEVEL, ROUNDING, BySeed, holm

MIN_TASKS, MIN_SEEDS = 5, 3  # below which nothing is ordered


@dataclass(frozen=True)
class Placed:
    """A router in an order.

    Attributes:
        lead: mean over tasks of its difference to the average router.
        half: half-width of the interval of the lead; simultaneous 95 % for all routers; None
            without an order.
        ranks: best and worst rank, from 1, consistent with the significant pairs; None without an
            order.
        behind: comparison with the router of the largest lead, over tasks; None for that router,
            and without an order.
        beaten: whether the router of the largest lead is significantly better.
    """

    lead: float
    half: float | None = None
    ranks: tuple[int, int] | None = None
    behind: Comparison | None = None
    beaten: bool = False


def order(tasks: Sequence[Mapping[str, BySeed]], margin: float | None = None) -> dict[str, Placed]:
    """Return the place of every router; leads without an order below `MIN_TASKS` tasks.

    A pair with fewer than `MIN_SEEDS` shared seeds on some task never differs significantly.

    Args:
        tasks: quality by router and seed of each task, larger is better, in a unit that makes tasks
            comparable. All have the same routers.
        margin: equivalence margin, in that unit.

    Raises:
        ValueError: for tasks of different routers.
    """
    names = sorted(tasks[0]) if tasks else []
    if any(sorted(task) != names for task in tasks):
        raise ValueError("tasks of different routers; allowed: every router on every task")
    if len(names) < 2:
        return {name: Placed(0.0) for name in names}
    pairs = [_differences(task, names) for task in tasks]
    gaps = np.stack([mean for mean, _ in pairs])  # [tasks, routers, routers]
    seeds = np.stack([shared for _, shared in pairs]).min(axis=0)
    leads = np.nanmean(gaps, axis=2)  # to the mean of all, itself among them: [tasks, routers]
    means = [float(lead) for lead in leads.mean(axis=0)]
    if len(tasks) < MIN_TASKS:
        return {name: Placed(mean) for name, mean in zip(names, means, strict=True)}
    better = _better(gaps, seeds)
    halves = _halves(leads)
    first = int(np.argmax(means))
    return {
        name: Placed(
            lead=means[i],
            half=halves[i],
            ranks=(1 + int(better[:, i].sum()), len(names) - int(better[i].sum())),
            behind=_behind(gaps[:, i, first], int(seeds[i, first]), len(names), margin)
            if i != first
            else None,
            beaten=bool(better[first, i]),
        )
        for i, name in enumerate(names)
    }


def _differences(task: Mapping[str, BySeed], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean difference over shared seeds (or NaN) and their number, for all pairs."""
    seeds = sorted({seed for row in task.values() for seed in row})
    table = np.array(
        [[task[name].get(seed, np.nan) for seed in seeds] for name in names]
    )  # [routers, seeds]
    known = (~np.isnan(table)).astype(float)
    shared = known @ known.T
    values = np.where(known > 0, table, 0.0)
    total = values @ known.T  # of each row's values, over the seeds that the column has too
    with np.errstate(invalid="ignore"):
        return (total - total.T) / np.where(shared > 0, shared, np.nan), shared


def _better(gaps: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Return which router (row) is significantly better than which (column): Holm, all pairs."""
    count, tasks = gaps.shape[1], len(gaps)
    mean, error = gaps.mean(axis=0), gaps.std(axis=0, ddof=1) / math.sqrt(tasks)
    with np.errstate(invalid="ignore"):
        tested = (seeds >= MIN_SEEDS) & (error > ROUNDING * np.abs(mean))
        p = 2 * special.stdtr(tasks - 1, -np.abs(mean) / np.where(tested, error, np.nan))
    first, second = np.nonzero(np.triu(tested, 1))
    pairs = [*zip(first.tolist(), second.tolist(), strict=True)]
    better = np.zeros((count, count), bool)
    for (i, j), corrected in holm(dict(zip(pairs, p[first, second].tolist(), strict=True))).items():
        if corrected < LEVEL:
            better[(i, j) if mean[i, j] > 0 else (j, i)] = True
    return better


def _halves(leads: np.ndarray) -> list[float]:
    """Return the half-width of each router's simultaneous interval: Bonferroni over routers."""
    tasks, routers = leads.shape
    critical = special.stdtrit(tasks - 1, 1 - LEVEL / (2 * routers))
    return [float(critical * error) for error in leads.std(axis=0, ddof=1) / math.sqrt(tasks)]


def _behind(
    values: np.ndarray, seeds: int, routers: int, margin: float | None
) -> Comparison | None:
    """Compare a router with the leader, corrected for all pairs: any router may be the leader."""
    if seeds < MIN_SEEDS:
        return None
    return compare(values.tolist(), margin, routers * (routers - 1) // 2, MIN_TASKS)
