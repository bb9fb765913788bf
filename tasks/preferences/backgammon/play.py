"""Games of backgammon between two players, many at once, with paired dice.

Each sequence of dice is played twice, each player beginning once, so that luck cancels in the mean
of the two. Money game without cube: 1 point, 2 for a gammon, 3 for a backgammon.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import nn

from moesuite.task import Lines
from moesuite.tasks.preferences.backgammon.expert import Chooser, Expert
from moesuite.tasks.preferences.backgammon.positions import START, tokens, won

AT_ONCE = 4096  # boards in a batch of the network
MOST_PLIES = 10_000  # a longer game counts 0


@dataclass(frozen=True)
class Points:
    """Points that the first player won.

    Attributes:
        mean: per game.
        half: half the width of its 95 % interval, Student's t over pairs.
    """

    mean: float
    half: float


def network(model: nn.Module, inputs: int) -> Chooser:
    """Return a network as a player.

    Args:
        model: token ids -> `logits` [R, 1]: scores, or answers to "is the first better" of two
            boards side by side.
        inputs: boards that it sees at once, 1 or 2. With 2, the best board so far is compared with
            each other board.
    """
    device = next(model.parameters()).device

    @torch.no_grad()
    def score(rows: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(rows).long().split(AT_ONCE)
        logits = [model(input_ids=part.to(device)).logits.float().squeeze(1) for part in parts]
        return torch.cat(logits).cpu().numpy()

    def choose(games: Sequence[np.ndarray]) -> list[int]:
        if not games:
            return []
        rows, sizes = tokens(np.concatenate(games)), [len(boards) for boards in games]
        starts = np.cumsum([0, *sizes[:-1]])
        if inputs == 1:
            return [int(scores.argmax()) for scores in np.split(score(rows), starts[1:])]
        best = np.zeros(len(games), dtype=np.int64)
        for other in range(1, max(sizes)):
            left = np.flatnonzero(np.array(sizes) > other)
            first, second = rows[starts[left] + best[left]], rows[starts[left] + other]
            best[left[score(np.concatenate([first, second], axis=1)) < 0]] = other
        return best.tolist()

    return choose


def play(first: Chooser, second: Chooser, expert: Expert, games: int, seed: int) -> Points:
    """Play games between two players.

    Args:
        first: first player: chooses among boards, for many games at once.
        second: second player.
        expert: generates the legal moves.
        games: number of games, even, >= 4.
        seed: of the dice.
    """
    pairs = games // 2
    random = np.random.default_rng(seed)
    boards = np.repeat(START[None], 2 * pairs, axis=0)  # as the player to move sees them
    begins = np.arange(2 * pairs) % 2  # 1: the second player has the first move
    result = np.zeros(2 * pairs)
    running = np.ones(2 * pairs, dtype=bool)
    lines = Lines("games of backgammon", 2 * pairs, "games")
    for ply in range(MOST_PLIES):
        dice = np.repeat(_roll(random, pairs, opening=ply == 0), 2, axis=0)
        turn = (begins + ply) % 2
        for side, chooser in enumerate((first, second)):
            moving = np.flatnonzero(running & (turn == side))
            legal = [
                expert.moves(boards[game], (int(dice[game, 0]), int(dice[game, 1])))
                for game in moving
            ]
            choosing = [place for place, moves in enumerate(legal) if len(moves)]
            chosen = chooser([legal[place] for place in choosing])
            for place, pick in zip(choosing, chosen, strict=True):
                boards[moving[place]] = legal[place][pick]
            points = won(boards[moving])
            result[moving] = points * (1 - 2 * side)
            running[moving[points > 0]] = False
        lines.count(int((~running).sum()))
        if not running.any():
            break
        boards = boards[:, ::-1].copy()
    means = result.reshape(pairs, 2).mean(axis=1)
    half = float(stats.t.ppf(0.975, pairs - 1) * means.std(ddof=1) / math.sqrt(pairs))
    return Points(float(means.mean()), half)


def _roll(random: np.random.Generator, pairs: int, opening: bool) -> np.ndarray:
    """Return dice [pairs, 2]; the roll that opens a game is no double."""
    dice = random.integers(1, 7, size=(pairs, 2))
    if opening:
        dice[:, 1] = 1 + (dice[:, 0] - 1 + random.integers(1, 6, size=pairs)) % 6
    return dice
