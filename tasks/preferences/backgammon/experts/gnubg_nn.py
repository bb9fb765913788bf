"""GNU Backgammon, the Python package `gnubg-nn` (extra "backgammon"), as an expert."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from moesuite.task import UserError
from moesuite.tasks.preferences.backgammon.expert import PASS, Dice, Scores, deepened
from moesuite.tasks.preferences.backgammon.positions import Boards, swapped


class Package:
    """GNU Backgammon, the package: its rules and its neural networks.

    Args:
        plies: rolls to look ahead, >= 0; from 1 on with its own move filter.

    Raises:
        UserError: if it is not installed.
    """

    def __init__(self, plies: int = 0) -> None:
        try:
            import gnubg_nn
        except ImportError:
            raise UserError(
                "GNU Backgammon is not installed; type "
                'pip install -e ".[backgammon]"; cached labels, or '
                "task.source=<folder of labelled positions>, need it for play only "
                "(task.play=[])"
            ) from None
        self._engine: Any = gnubg_nn
        self.plies = plies
        self.name = f"gnubg-nn {version('gnubg-nn')}, {plies}-ply"

    def moves(self, board: np.ndarray, dice: Dice) -> Boards:
        """Return the board after each legal move."""
        keys = self._keys(board, dice)
        return self._boards(keys) if keys else PASS[0]

    def _keys(self, board: np.ndarray, dice: Dice) -> Sequence[str]:
        return self._engine.moves(board.tolist(), *dice) if board[1].any() else ()

    def _boards(self, keys: Sequence[str]) -> Boards:
        return np.array([self._engine.board_from_position_key(key) for key in keys], dtype=np.int8)

    def judged(self, board: np.ndarray, dice: Dice) -> tuple[Boards, Scores]:
        """Return the board after each legal move, with its equity."""
        if not self._keys(board, dice):
            return PASS
        keys, scores = self._listed(board, dice, 0)
        deep: dict[str, float] = {}
        if self.plies:
            deep = dict(zip(*self._listed(board, dice, self.plies), strict=True))
        # the list has the boards as the opponent sees them, whose roll it is
        return swapped(self._boards(keys)), deepened(scores, [deep.get(key) for key in keys])

    def _listed(self, board: np.ndarray, dice: Dice, plies: int) -> tuple[list[str], list[float]]:
        """Return the position keys after the moves that pass the filter, and their equities."""
        moves = self._engine.best_move(board.tolist(), *dice, plies, b"X", 0, 0, 1)[-1]
        return [move[0] for move in moves], [move[3] for move in moves]
