"""Opponents for games of backgammon, by the package `gnubg-nn`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, MultipleOf

from moesuite.records.metrics import OPPONENTS
from moesuite.task import UserError, unknown
from moesuite.tasks.preferences.backgammon.expert import Chooser
from moesuite.tasks.preferences.backgammon.positions import swapped

RULES = "gnubg-nn"  # the expert whose legal moves games are played by


@dataclass(frozen=True)
class Matches:
    """Games of backgammon after training.

    Attributes:
        play: opponents: random, pubeval (Tesauro's linear benchmark), gnubg (0-ply).
        games: games against each opponent, even, >= 4.
    """

    play: list[Literal["random", "pubeval", "gnubg"]] = field(default_factory=lambda: [])
    games: Annotated[int, Ge(4), MultipleOf(2)] = 1000

    def check(self, kind: str) -> None:
        """Raise `UserError` for an unknown opponent, or games on a task that is not backgammon."""
        if strangers := [name for name in self.play if name not in OPPONENTS]:
            raise unknown("opponent in task.play", strangers[0], OPPONENTS, "task.play=[pubeval]")
        if self.play and kind == "text":
            raise UserError(
                f"task.play={self.play} with task.kind=text; expected task.kind=backgammon; "
                "type task.play=[]"
            )


def opponent(name: str, seed: int) -> Chooser:
    """Return an opponent by its name in `task.play`; `seed` is of the random one."""
    return _random(seed) if name == "random" else PLAYERS[name]()


def _random(seed: int) -> Chooser:
    random = np.random.default_rng(seed)
    return lambda games: [int(random.integers(len(boards))) for boards in games]


def _pubeval() -> Chooser:
    import gnubg_nn

    def choose(boards: np.ndarray) -> int:
        # it wants the mover first
        scores = [gnubg_nn.pub_eval_score(board) for board in swapped(boards).tolist()]
        return int(np.argmax(scores))

    return lambda games: [choose(boards) for boards in games]


def _gnubg() -> Chooser:
    import gnubg_nn

    def loss(board: list[list[int]]) -> float:
        win, gammon, backgammon, lost_gammon, lost_backgammon = gnubg_nn.probabilities(board, 0)
        return 2 * win - 1 + gammon + backgammon - lost_gammon - lost_backgammon

    def choose(boards: np.ndarray) -> int:
        return int(np.argmin([loss(board) for board in swapped(boards).tolist()]))

    return lambda games: [choose(boards) for boards in games]


PLAYERS: Mapping[str, Callable[[], Chooser]] = {"pubeval": _pubeval, "gnubg": _gnubg}
