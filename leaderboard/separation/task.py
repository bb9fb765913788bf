"""What one task tells of routers: pairs that separate, tie groups, distance to the optimum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from statistics import fmean
from typing import Literal

from moesuite.leaderboard.ranking.board import Board
from moesuite.leaderboard.ranking.contestants import CONTROLS, Row
from moesuite.leaderboard.ranking.overview import representatives
from moesuite.records.metrics import FAMILIES
from moesuite.statistics.significance import LEVEL, BySeed, separated, tie_groups

DIAGNOSTICS = "diagnostics"  # family whose metrics end at a known optimum


@dataclass(frozen=True)
class TaskResult:
    """Routers on one task: no controls, each by the row that represents it on the board.

    Unlike on the board, routers that look ahead are among them on a causal task: what they steal
    there is what tells them apart.

    Attributes:
        board: main benchmark of the task.
        rows: by router.
        values: quality by router and seed.
    """

    board: Board
    rows: Mapping[str, Row]
    values: Mapping[str, BySeed]

    @cached_property
    def groups(self) -> dict[str, int]:
        """Tie group of each router, from 1."""
        return tie_groups(self.values, self.board.direction)

    @property
    def number_of_groups(self) -> int:
        """Number of tie groups."""
        return max(self.groups.values(), default=0)

    @property
    def pairs(self) -> int:
        """Number of pairs of routers."""
        return len(self.values) * (len(self.values) - 1) // 2

    @property
    def seeds(self) -> int:
        """Fewest seeds of a router."""
        return min((len(values) for values in self.values.values()), default=0)

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each router by its mean, from 1."""
        sign = -1 if self.board.direction == "max" else 1
        order = sorted(self.values, key=lambda name: (sign * self.mean(name), name))
        return {name: place for place, name in enumerate(order, start=1)}

    def separated(self, level: float = LEVEL) -> set[tuple[str, str]]:
        """Return the pairs that differ significantly, by Holm's rule over those of this task."""
        return separated(self.values, level)

    def mean(self, router: str) -> float:
        """Return the mean over seeds."""
        return fmean(self.values[router].values())

    @property
    def optimum(self) -> float | None:
        """The known optimum, of a diagnostic; None of other tasks."""
        spec = FAMILIES.get(self.board.family, {}).get(self.board.metric)
        if spec is None or self.board.family != DIAGNOSTICS:
            return None
        return spec.most if self.board.direction == "max" else spec.least


def results(boards: Sequence[Board]) -> list[TaskResult]:
    """Return what each task tells; diagnostics come first."""
    main = [board for board in boards if not board.other and board.rows]
    ordered = sorted(main, key=lambda b: (b.family != DIAGNOSTICS, b.family, b.task))
    every = (_result(board) for board in ordered)
    return [result for result in every if result.values]


def _result(board: Board) -> TaskResult:
    rows = {
        row.router: row
        for row in representatives(board)
        if row.router not in CONTROLS and row.values and not row.refuted
    }
    return TaskResult(board, rows, {name: row.values for name, row in rows.items()})


def separated_anywhere(tasks: Sequence[TaskResult]) -> set[tuple[str, str]]:
    """Return the pairs that some task separates, at the error rate of one test over all tasks.

    Each of n tasks is tested at 1 / n of the level (Bonferroni).
    """
    return set(chain.from_iterable(task.separated(LEVEL / len(tasks)) for task in tasks))


def by_family(
    tasks: Sequence[TaskResult],
) -> Iterator[tuple[str, set[tuple[str, str]], int]]:
    """Yield (diagnostics or the name of another task, its separated pairs, all pairs)."""
    generated = [task for task in tasks if task.board.family == DIAGNOSTICS]
    if generated:
        names = set(chain.from_iterable(task.values for task in generated))
        pairs = len(names) * (len(names) - 1) // 2
        label = f"{DIAGNOSTICS}, on any of {len(generated)}"
        yield label, separated_anywhere(generated), pairs
    for task in tasks:
        if task.board.family != DIAGNOSTICS:
            yield task.board.task, task.separated(), task.pairs


Part = Literal["first", "between", "last", "alike"]


def part_of(task: TaskResult, router: str) -> Part:
    """Return where the tie group of a router is; alike where there is but one group."""
    if task.number_of_groups == 1:
        return "alike"
    group = task.groups[router]
    if group == 1:
        return "first"
    return "last" if group == task.number_of_groups else "between"
