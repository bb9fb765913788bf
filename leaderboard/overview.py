"""One matrix routers x tasks, and one order of all routers by their duels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from moesuite.leaderboard.board import Board, usual
from moesuite.leaderboard.contestants import Row
from moesuite.significance import Strength, bradley_terry


@dataclass(frozen=True)
class Standing:
    """A router in the overall order.

    Attributes:
        ranks: best and worst that its interval leaves open, from 1; None: not ranked, because of `missing` tasks.
        strength: log-odds against the average router, with its bootstrap interval; None: it met nobody.
    """

    router: str
    ranks: tuple[int, int] | None
    strength: Strength | None
    missing: list[str]


@dataclass(frozen=True)
class Overview:
    """Cells by (router, slug of the board): the row that stands for the router there; missing: not run."""

    boards: list[Board]
    cells: Mapping[tuple[str, str], Row]
    standings: list[Standing]
    duels: int


def overview(boards: Sequence[Board]) -> Overview:
    """Return the overview over the main benchmark of every task."""
    main = sorted((board for board in boards if not board.other and board.rows), key=lambda b: (b.family, b.task))
    cells: dict[tuple[str, str], Row] = {}
    contests: list[dict[str, float]] = []
    for board in main:
        chosen = representatives(board)
        cells |= {(row.router, board.slug): row for row in chosen}
        sign = 1 if board.direction == "max" else -1
        ranked = [row for row in chosen if row.group is not None]
        for seed in sorted({seed for row in ranked for seed in row.values}):
            contest = {row.router: sign * row.values[seed] for row in ranked if seed in row.values}
            if len(contest) > 1:
                contests.append(contest)
    # to four digits, so that pages do not depend on how a machine sums
    strengths = {
        name: Strength(*(round(v, 4) + 0.0 for v in astuple(s))) for name, s in bradley_terry(contests).items()
    }
    return Overview(main, cells, _standings(main, cells, strengths), len(contests))


def representatives(board: Board) -> list[Row]:
    """Return one row for each router of a benchmark: in the setting and with the budget that most routers have there.

    Never the best of several: that would favour whoever tried more. Settings with ranked rows come before others.
    """
    settings = {row.setting for row in board.rows if row.group is not None} or set(board.settings)
    setting = usual(key for key in settings for _ in {row.router for row in board.rows if row.setting == key})
    rows = [row for row in board.rows if row.setting == setting]
    budget = usual(row.budget for row in rows if row.router != "dense")
    chosen: dict[str, Row] = {}
    for row in sorted(rows, key=lambda r: (r.budget != budget, -len(r.values), len(r.variant), r.variant, r.key)):
        if row.budget == budget or row.router == "dense":
            chosen.setdefault(row.router, row)
    return [chosen[router] for router in sorted(chosen)]


def _standings(
    boards: Sequence[Board], cells: Mapping[tuple[str, str], Row], strengths: Mapping[str, Strength]
) -> list[Standing]:
    routers = sorted({row.router for board in boards for row in board.rows})
    ranking = [board for board in boards if any(row.group is not None for row in board.rows)]

    def lacks(router: str) -> list[str]:
        found = [(board.task, cells.get((router, board.slug))) for board in ranking]
        return [task for task, cell in found if cell is None or cell.group is None]

    def order(router: str) -> tuple[bool, float, str]:
        return bool(lacks(router)), -strengths[router].value if router in strengths else 0.0, router

    complete = [strengths[router] for router in routers if router in strengths and not lacks(router)]
    standings = []
    for router in sorted(routers, key=order):
        missing, own = lacks(router), strengths.get(router)
        ranks = None
        if own is not None and not missing:
            above, below = sum(s.low > own.high for s in complete), sum(s.high < own.low for s in complete)
            ranks = 1 + above, len(complete) - below
        standings.append(Standing(router, ranks, own, missing))
    return standings
