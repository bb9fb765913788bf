"""Backgammon positions: boards as arrays, GNU Backgammon's position ids, and tokens.

A board is [2, 25]: men of the opponent (0) and of the player whose position it is (1), on points 1
to 24 as each of the two counts them, and on the bar. The id of a position is the one that GNU
Backgammon shows
(https://www.gnu.org/software/gnubg/manual/html_node/A-technical-description-of-the-Position-ID.html).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int8, Int64
from torch import Tensor

from moesuite.task import UserError

MEN, POINTS, BAR = 15, 24, 24  # men of a side; index of the bar
BYTES, LETTERS = 10, 14
TOKENS = POINTS + 4  # points, both bars, both trays
VOCABULARY = 2 * MEN + 1
Boards = Int8[np.ndarray, "N 2 25"]
START = np.zeros((2, 25), dtype=np.int8)
START[:, [5, 7, 12, 23]] = 5, 3, 5, 2


def encode(boards: Boards) -> list[str]:
    """Return the ids of boards."""
    bits = np.zeros((len(boards), 8 * BYTES), dtype=np.uint8)
    men = boards.reshape(len(boards), 50).astype(np.int64)
    ends = (men + 1).cumsum(axis=1)  # each point is as many ones as it has men, and a zero
    first = ends - men - 1
    for place in range(50):
        for man in range(int(men[:, place].max(initial=0))):
            row = np.flatnonzero(men[:, place] > man)
            bits[row, first[row, place] + man] = 1
    packed = np.packbits(bits, axis=1, bitorder="little")
    return [base64.b64encode(row.tobytes()).decode()[:LETTERS] for row in packed]


def decode(ids: Sequence[str]) -> Boards:
    """Return the boards of ids.

    Raises:
        UserError: for an id that is malformed, or of a position that the rules do not allow.
    """
    try:
        packed = np.frombuffer(b"".join(map(_bytes, ids)), dtype=np.uint8).reshape(-1, BYTES)
    except (binascii.Error, ValueError):
        raise UserError(_malformed(next(name for name in ids if not _readable(name)))) from None
    bits = np.unpackbits(packed, axis=1, bitorder="little").astype(np.int64)
    zeros = 1 - bits
    place = zeros.cumsum(axis=1) - zeros  # zeros before each bit: the index of its point
    men = np.zeros((len(bits), 8 * BYTES + 1), dtype=np.int64)
    np.add.at(men, (np.arange(len(bits))[:, None], place), bits)
    boards = men[:, :50].reshape(-1, 2, 25)
    wrong = (men[:, 50:].sum(axis=1) > 0) | (boards.sum(axis=2) > MEN).any(axis=1)
    if wrong.any():
        raise UserError(_malformed(ids[int(np.flatnonzero(wrong)[0])]))
    check(boards, ids)
    return boards.astype(np.int8)


def check(boards: Int64[np.ndarray, "N 2 25"] | Boards, names: Sequence[str]) -> None:
    """Refuse boards that the rules do not allow.

    Args:
        boards: boards to check.
        names: name of each, for the message.

    Raises:
        UserError: for a point that both sides hold, or both sides without any man.
    """
    both = ((boards[:, 0, :POINTS] > 0) & (boards[:, 1, POINTS - 1 :: -1] > 0)).any(axis=1)
    empty = (boards == 0).all(axis=(1, 2))
    reasons = {"both sides hold a point": both, "no man is left on either side": empty}
    for reason, illegal in reasons.items():
        if illegal.any():
            raise UserError(
                f"position {names[int(np.flatnonzero(illegal)[0])]} is not legal: {reason}; "
                "expected positions that a game can reach; type for example 4HPwATDgc/ABMA, the "
                "first one"
            )


def _bytes(position: str) -> bytes:
    if len(position) != LETTERS:
        raise ValueError(position)
    return base64.b64decode(position + "==", validate=True)


def _readable(position: str) -> bool:
    try:
        return bool(_bytes(position))
    except (binascii.Error, ValueError):
        return False


def _malformed(position: str) -> str:
    return (
        f"{position!r} is no position id; expected the {LETTERS} letters that GNU Backgammon "
        "shows; type for example 4HPwATDgc/ABMA, the first position of a game"
    )


def tokens(boards: Boards) -> Int8[np.ndarray, "N 28"]:
    """Return the input of a network from the view of row 1: 24 points, bars, trays; each 0..30.

    A point is 15, plus the player's men, minus the opponent's; bars and trays are 15 plus the men,
    the player's first.
    """
    points = boards[:, 1, :POINTS] - boards[:, 0, POINTS - 1 :: -1]
    trays = MEN - boards.sum(axis=2)[:, ::-1]
    return np.concatenate([points, boards[:, ::-1, BAR], trays], axis=1).astype(np.int8) + MEN


def swapped(boards: Boards) -> Boards:
    """Return the boards from the view of the other player."""
    return boards[:, ::-1]


def won(boards: Boards) -> Int64[np.ndarray, " N"]:
    """Return the points that the player of row 1 has won.

    0 while the game goes on, 1 for a single game, 2 for a gammon, 3 for a backgammon.
    """
    player, opponent = boards[:, 1].astype(np.int64), boards[:, 0].astype(np.int64)
    stuck = opponent[:, POINTS - 6 :].sum(axis=1) > 0  # in the winner's home, or on the bar
    points = 1 + (opponent.sum(axis=1) == MEN) * (1 + stuck)
    return np.where(player.sum(axis=1) == 0, points, 0)


def as_words(rows: Int[Tensor, "N T"]) -> list[list[str]]:
    """Return the word of each token: a place and its men, "x" the player's, "o" the opponent's."""
    places = [*map(str, range(1, POINTS + 1)), "bar x", "bar o", "off x", "off o"]
    return [
        [_word(places[i % TOKENS], men - MEN) for i, men in enumerate(row)] for row in rows.tolist()
    ]


def _word(place: str, men: int) -> str:
    if not place.isdecimal():
        return f"{place}{men}"
    if men == 0:
        return place
    side = "x" if men > 0 else "o"
    return f"{place}:{side}{abs(men)}"
