"""Cost of backgammon: seconds to generate and label positions, and to play batches of games.

    python -m moesuite.benchmarks.speed.backgammon positions=20000 test_positions=100 games=1000

Positions are labelled by GNU Backgammon, at 0-ply for training and filtered 2-ply for the test,
without cache. Games against pubeval are played by Tesauro's perceptron of 250 hidden units and by
the small BERT, both untrained: their time depends on how long games last.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import Field
from rich.console import Console

from moesuite.config.cli import Options, run_command
from moesuite.config.compose import compose
from moesuite.models.backbones import build_backbone
from moesuite.tasks.preferences.backgammon.experts.gnubg_nn import Package
from moesuite.tasks.preferences.backgammon.opponents import opponent
from moesuite.tasks.preferences.backgammon.play import network, play
from moesuite.tasks.preferences.backgammon.selfplay import judge, self_play
from moesuite.tasks.preferences.task import Preferences

EXPERT, RANDOM_MOVES = "gnubg-nn", 0.2  # as in the task
PLAYERS = {
    "perceptron": ["backbone=tesauro", "backbone.kwargs.hidden=[250]", "router=dense"],
    "BERT": [],
}


@contextmanager
def timed(console: Console, what: str) -> Iterator[None]:
    """Print the seconds that the block takes."""
    begun = time.perf_counter()
    yield
    console.print(f"{what}: {time.perf_counter() - begun:.1f} s", highlight=False)


class BackgammonOptions(Options):
    """Options of the command."""

    positions: int = Field(20000, ge=1, description="positions to train, judged at 0-ply")
    test_positions: int = Field(100, ge=1, description="positions to test, judged at 2-ply")
    games: int = Field(1000, ge=1, description="games of each player")


def measure(options: BackgammonOptions) -> None:
    """Measure and print."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    train, test, games = options.positions, options.test_positions, options.games
    with timed(console, f"{train} positions, made and judged at 0-ply"):
        judge(list(itertools.islice(self_play(Package(), RANDOM_MOVES, 0), train)), EXPERT, 0)
    positions = list(itertools.islice(self_play(Package(), RANDOM_MOVES, 1), test))
    with timed(console, f"{test} positions, judged at 2-ply by one process"):
        judge(positions, EXPERT, 2)
    fit = Preferences().backbone_arguments()
    for name, words in PLAYERS.items():
        backbone = compose("task=backgammon", *words).backbone
        model = build_backbone(backbone.model, False, 0, fit, backbone.kwargs).eval()
        with timed(console, f"{games} games of {name} against pubeval"):
            play(network(model, 1), opponent("pubeval", 0), Package(), games, 0)


if __name__ == "__main__":
    run_command(measure, BackgammonOptions, __doc__)
