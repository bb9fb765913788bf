"""The matrix of routers and tasks, and which contestant represents a router in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moesuite.leaderboard.ranking.board import Board, usual
from moesuite.leaderboard.ranking.contestants import CONTROLS, Row
from moesuite.leaderboard.ranking.scopes import Cells, Scope, scopes


@dataclass(frozen=True)
class Overview:
    """The matrix of routers and tasks.

    Attributes:
        cells: by (router, slug of the board): the row that represents the router, if there is one.
        routers, controls: in order of name.
        ahead: routers that look at later tokens, which do not apply to causal tasks.
        scopes: orders over the tasks of a family, and over those of several.
    """

    boards: list[Board]
    cells: Mapping[tuple[str, str], Row]
    routers: list[str]
    controls: list[str]
    ahead: frozenset[str]
    scopes: list[Scope]

    def applies(self, router: str, board: Board) -> bool:
        """Return whether a router applies to a task."""
        return not (board.causal and router in self.ahead)


def overview(boards: Sequence[Board]) -> Overview:
    """Return the overview over the main benchmark of every task."""
    main = sorted(
        (board for board in boards if not board.other and board.rows),
        key=lambda b: (b.family, b.task),
    )
    cells = {(row.router, board.slug): row for board in main for row in representatives(board)}
    names = sorted({row.router for board in main for row in board.rows})
    routers, ahead = [name for name in names if name not in CONTROLS], _ahead(main, cells)
    return Overview(
        boards=main,
        cells=cells,
        routers=routers,
        controls=[name for name in names if name in CONTROLS],
        ahead=ahead,
        scopes=scopes(main, cells, routers, ahead),
    )


def _ahead(boards: Sequence[Board], cells: Cells) -> frozenset[str]:
    """Return the routers that look ahead in each row that represents them, as measured or claimed.

    A router that has a causal row on one task could have been run with these options on any.
    """
    causal = {board.slug for board in boards if board.causal}
    ranked = {
        router
        for (router, where), row in cells.items()
        if where in causal and row.group is not None
    }
    looks_ahead = {router for (router, _), row in cells.items() if row.causal is False}
    is_causal = {router for (router, _), row in cells.items() if row.causal is True}
    return frozenset(looks_ahead - is_causal - ranked - {*CONTROLS})


def representatives(board: Board) -> list[Row]:
    """Return one row for each router: in the main setting, with the budget of most routers.

    Never the best of several: that would favour routers with more rows.
    """
    rows = [row for row in board.rows if row.setting == board.main]
    budget = usual(row.budget for row in rows if row.router != "dense")
    chosen: dict[str, Row] = {}
    for row in sorted(
        rows, key=lambda r: (r.budget != budget, -len(r.values), len(r.variant), r.variant, r.key)
    ):
        if row.budget == budget or row.router == "dense":
            chosen.setdefault(row.router, row)
    return [chosen[router] for router in sorted(chosen)]
