"""Positions: ids, legality and tokens by hand."""

from __future__ import annotations

import gnubg_nn
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesuite.errors import UserError
from moesuite.tasks.preferences.backgammon.experts.gnubg import moved
from moesuite.tasks.preferences.backgammon.positions import (
    MEN,
    START,
    VOCABULARY,
    as_words,
    decode,
    encode,
    tokens,
    won,
)
from tests.tasks.preferences.backgammon.recipes import FIRST, boards


@given(st.lists(boards(), min_size=1, max_size=4))
def test_ids_are_those_of_gnu_backgammon_and_lead_back(found: list[np.ndarray]) -> None:
    stacked = np.stack(found)
    ids = encode(stacked)
    assert ids == [gnubg_nn.position_id(board.tolist()) for board in stacked]
    assert (decode(ids) == stacked).all()
    assert encode(START[None]) == [FIRST]


@pytest.mark.parametrize(
    "position", ["", "4HPwATDgc/ABM", "4HPwATDgc/ABMA=", "4HPwATDgc!ABMA", "//////////////"]
)
def test_invalid_position_ids(position: str) -> None:
    with pytest.raises(
        UserError, match=r"is no position id; expected the 14 letters .* type for example 4HPwATDgc"
    ):
        decode([FIRST, position])


def test_positions_that_the_rules_do_not_allow() -> None:
    both, empty = START.copy(), np.zeros_like(START)
    both[0, 23 - 5] = 1  # where the player has five
    with pytest.raises(UserError, match="not legal: both sides hold a point"):
        decode(encode((both - np.eye(2, 25, 23, dtype=np.int8) * [[1], [0]]).astype(np.int8)[None]))
    with pytest.raises(UserError, match="not legal: no man is left"):
        decode(encode(empty[None]))


def test_tokens_by_hand() -> None:
    """The player's own five on point 6 are 15 + 5.

    The opponent's two on the player's first point 15 - 2.
    """
    (row,) = tokens(START[None])
    assert row[5] == 20 and row[0] == 13 and row[23] == 17 and row[18] == 10
    assert (row[24:] == 15).all() and row.max() < VOCABULARY
    bar = START.copy()
    bar[0, 23], bar[0, 24] = 1, 1  # one of the opponent's back men is on the bar
    (row,) = tokens(bar[None])
    assert row[0] == 14 and row[25] == 16 and row[24] == 15
    home = np.zeros((2, 25), dtype=np.int8)
    home[1, 0] = 3
    home[0, 0] = MEN
    assert tokens(home[None])[0, 26:].tolist() == [15 + 12, 15]
    assert as_words(torch.from_numpy(tokens(bar[None])))[0][:2] == ["1:o1", "2"]
    assert "bar o1" in as_words(torch.from_numpy(tokens(bar[None])))[0]


def test_points_by_hand() -> None:
    board = np.zeros((4, 2, 25), dtype=np.int8)
    board[0] = START
    board[1, 0, 3] = 14  # one is off: a single game
    board[2, 0, 3] = 15  # none is off, none is behind: gammon
    board[3, 0, [3, 20]] = 14, 1  # one in the winner's home: backgammon
    assert won(board).tolist() == [0, 1, 2, 3]


def test_moves_by_hand() -> None:
    board = START.copy()
    board[1, [23, 24]], board[0, [2, 23]] = (
        [1, 1],
        [1, 1],
    )  # a man on the bar; blots where it enters, and on the ace point
    entered = moved(board, [(25, 22), (6, 1)])
    assert entered[1, [24, 21, 5, 0]].tolist() == [0, 1, 4, 1] and entered[
        0, [2, 23, 24]
    ].tolist() == [0, 0, 2]
    assert moved(START, [(6, 0)]).sum() == 29 and (START.sum(axis=1) == 15).all()
