"""Games over paired dice, and known strengths."""

from __future__ import annotations

import pytest
import torch

from moesuite.tasks.preferences.backgammon.experts.gnubg_nn import Package
from moesuite.tasks.preferences.backgammon.opponents import opponent
from moesuite.tasks.preferences.backgammon.play import network, play
from moesuite.tasks.preferences.backgammon.positions import (
    START,
    tokens,
)


def test_paired_dice_cancel_luck() -> None:
    """A deterministic player wins as much with one side as it loses with the other."""
    points = play(
        lambda games: [0 for _ in games], lambda games: [0 for _ in games], Package(), 20, 0
    )
    assert points.mean == 0 and points.half == 0


@pytest.mark.slow
def test_known_strengths() -> None:
    """pubeval beats random by 2.5 points a game, gnubg 0-ply beats pubeval by 0.7.

    Measured over 1,000 games each: 2.49, 0.71.
    """
    expert = Package()
    easy = play(opponent("pubeval", 1), opponent("random", 1), expert, 200, 0)
    assert abs(easy.mean - 2.49) < 3 * easy.half and easy.half < 0.15
    hard = play(opponent("gnubg", 1), opponent("pubeval", 1), expert, 400, 0)
    assert abs(hard.mean - 0.71) < 2 * hard.half and hard.mean > hard.half


class Scores(torch.nn.Module):
    """A score that counts men at home."""

    def __init__(self, pairs: bool) -> None:
        super().__init__()
        self.weight, self.pairs = torch.nn.Parameter(torch.ones(1)), pairs

    def forward(self, input_ids: torch.Tensor) -> object:
        home = input_ids[:, :6].sum(dim=1) - (input_ids[:, 28:34].sum(dim=1) if self.pairs else 0)
        return type("Output", (), {"logits": self.weight * home[:, None]})


def test_networks_of_one_and_two_inputs_play_the_same() -> None:
    games = [Package().moves(START, dice) for dice in ((6, 5), (1, 2), (3, 3))]
    one, two = (network(Scores(pairs), 1 + pairs)(games) for pairs in (False, True))
    assert list(one) == list(two)
    scores = [tokens(own)[:, :6].astype(int).sum(axis=1) for own in games]
    assert [int(own.argmax()) for own in scores] == list(one)
