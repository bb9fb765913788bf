"""GNU Backgammon, the package `gnubg-nn` (extra "backgammon"), as an expert, and who can be played against by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from moesuite.task import UserError
from moesuite.tasks.preferences.backgammon.expert import PASS, Chooser, Dice, Scores, deepened
from moesuite.tasks.preferences.backgammon.positions import Boards, swapped


class Package:
    """GNU Backgammon, the package: its own rules and neural networks.

    Args:
        plies: rolls that it looks ahead, 0 or more, with its own move filter from 1 on.

    Raises:
        UserError: if it is not installed.
    """

    def __init__(self, plies: int = 0) -> None:
        try:
            import gnubg_nn
        except ImportError:
            raise UserError(
                'GNU Backgammon is not installed; type pip install -e ".[backgammon]"; labels that are cached, or '
                "task.source=<folder of labelled positions>, need it for play only (task.play=[])"
            ) from None
        self._engine: Any = gnubg_nn
        self.plies, self.name = plies, f"gnubg-nn {version('gnubg-nn')}, {plies}-ply"

    def moves(self, board: np.ndarray, dice: Dice) -> Boards:
        """Return the boards after each legal move."""
        keys = self._keys(board, dice)
        return self._boards(keys) if keys else PASS[0]

    def _keys(self, board: np.ndarray, dice: Dice) -> Sequence[str]:
        return self._engine.moves(board.tolist(), *dice) if board[1].any() else ()

    def _boards(self, keys: Sequence[str]) -> Boards:
        return np.array([self._engine.board_from_position_key(key) for key in keys], dtype=np.int8)

    def judged(self, board: np.ndarray, dice: Dice) -> tuple[Boards, Scores]:
        """Return the boards after each legal move, with its equity."""
        if not self._keys(board, dice):
            return PASS
        keys, scores = self._listed(board, dice, 0)
        looked = (
            dict(zip(*self._listed(board, dice, self.plies), strict=True)) if self.plies else {}
        )
        # the list has the boards as the opponent sees them, whose roll it is
        return swapped(self._boards(keys)), deepened(scores, [looked.get(key) for key in keys])

    def _listed(self, board: np.ndarray, dice: Dice, plies: int) -> tuple[list[str], list[float]]:
        found = self._engine.best_move(board.tolist(), *dice, plies, b"X", 0, 0, 1)[-1]
        return [one[0] for one in found], [one[3] for one in found]


def opponents(seed: int) -> dict[str, Callable[[], Chooser]]:
    """Return who can be played against: random, pubeval (Tesauro's linear benchmark), gnubg at 0-ply."""
    return {"random": partial(_random, seed), "pubeval": _pubeval, "gnubg": _gnubg}


def _random(seed: int) -> Chooser:
    random = np.random.default_rng(seed)
    return lambda games: [int(random.integers(len(boards))) for boards in games]


def _pubeval() -> Chooser:
    import gnubg_nn

    # it wants the mover first
    return lambda games: [
        int(np.argmax([gnubg_nn.pub_eval_score(one) for one in swapped(boards).tolist()]))
        for boards in games
    ]


def _gnubg() -> Chooser:
    import gnubg_nn

    def loss(board: list[list[int]]) -> float:
        win, gammon, backgammon, lost_gammon, lost_backgammon = gnubg_nn.probabilities(board, 0)
        return 2 * win - 1 + gammon + backgammon - lost_gammon - lost_backgammon

    return lambda games: [
        int(np.argmin([loss(one) for one in swapped(boards).tolist()])) for boards in games
    ]
