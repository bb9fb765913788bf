"""A recipe of few labels, and boards of any kind."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from moesuite.tasks.preferences.backgammon.positions import (
    MEN,
)
from moesuite.tasks.preferences.backgammon.selfplay import Recipe

FIRST = "4HPwATDgc/ABMA"
SMALL = Recipe(
    expert="gnubg-nn", train=60, test=12, train_plies=0, test_plies=0, random_moves=0.3, seed=0
)


@st.composite
def boards(draw: st.DrawFn) -> np.ndarray:
    """A board that the rules allow: no point is held by both."""
    board = np.zeros((2, 25), dtype=np.int8)
    owner = [draw(st.integers(0, 1)) for _ in range(24)]
    for side in (0, 1):
        own = [24, *(i if side else 23 - i for i in range(24) if owner[i] == side)]
        for place in draw(st.lists(st.sampled_from(own), max_size=MEN)):
            board[side, place] += 1
    if not board.any():
        board[1, 24] = 1
    return board


MY_EXPERT = """
from moesuite.tasks.preferences.backgammon.experts.gnubg_nn import Package


class Cautious(Package):
    \"\"\"Leaves as few blots as it can.\"\"\"

    def __init__(self, plies):
        super().__init__(plies)
        self.name = f"cautious, {plies}-ply"

    def judged(self, board, dice):
        boards, scores = super().judged(board, dice)
        return boards, -(boards[:, 1, :24] == 1).sum(axis=1).astype(scores.dtype)


class Nobody:
    def __init__(self, plies):
        pass


class Shallow(Package):
    def __init__(self):
        super().__init__(0)


class Passing(Package):
    def moves(self, board, dice):
        return super().moves(board, dice)[:0]
"""
