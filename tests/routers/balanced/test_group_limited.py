"""Group-limited routing and DeepSeek-V3's loss on sequences, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from moesuite.routers.group_limited import GroupLimited
from moesuite.routers.loss_free import LossFree
from moesuite.routing.losses import sequence_loss
from moesuite.routing.router import LayerSpec
from tests.routers.by_hand import logits_as_input

# scores of one token for groups of two experts: the best one, the best two, in between
SCORES = torch.tensor([[[0.9, 0.1, 0.6, 0.7, 0.8, 0.3]]])


def router_of(**options: Any) -> GroupLimited:
    options = {"k": 2, "groups": 3, "limit": 1, "sequence_weight": 0.0} | options
    router = GroupLimited(LayerSpec(6, 6, 6.0), **options)
    logits_as_input(router)
    return router


@pytest.mark.parametrize(
    ("options", "experts", "weights"),
    [
        # sums of two: 1.0, 1.3, 1.1 -> the second group; gates over 0.7 + 0.6
        ({}, [3, 2], [0.7 / 1.3, 0.6 / 1.3]),
        # two groups: the second and the third
        ({"limit": 2}, [4, 3], [0.8 / 1.5, 0.7 / 1.5]),
        ({"limit": 3}, [0, 4], [0.9 / 1.7, 0.8 / 1.7]),
        # best ones: 0.9, 0.7, 0.8 -> the first group
        ({"best_of": 1}, [0, 1], [0.9, 0.1]),
        ({"normalise": False}, [3, 2], [0.7, 0.6]),
    ],
)
def test_the_best_groups_by_hand(
    options: dict[str, Any], experts: list[int], weights: list[float]
) -> None:
    routing = router_of(**options).eval()(SCORES.logit())
    assert routing.experts.tolist() == experts
    assert routing.weights.tolist() == pytest.approx(weights)


def test_the_bias_chooses_groups_and_experts_and_weighs_none() -> None:
    router = router_of(update_rate=0.25, normalise=False).train()
    router(SCORES.logit())
    router.advance()  # loads 0, 0, 1, 1, 0, 0, mean 1/3
    assert router.bias.tolist() == [0.25, 0.25, -0.25, -0.25, 0.25, 0.25]
    # biased 1.15, 0.35, 0.35, 0.45, 1.05, 0.55: sums 1.5, 0.8, 1.6
    routing = router.eval()(SCORES.logit())
    assert routing.experts.tolist() == [4, 5]
    assert routing.weights.tolist() == pytest.approx([0.8, 0.3])


def test_deepseek_v2_is_softmax_and_the_best_one() -> None:
    # gates 0.4, 0.1, 0.3, 0.2 in groups of two: the first group, whose second expert ranks last
    gates = torch.tensor([[[0.4, 0.1, 0.3, 0.2]]])
    options: dict[str, Any] = {"scores": "softmax", "best_of": 1, "normalise": False}
    router = GroupLimited(LayerSpec(4, 4, 4.0), k=2, groups=2, limit=1, **options)
    routing = logits_as_input(router).eval()(gates.log())
    assert routing.experts.tolist() == [0, 1]
    assert routing.weights.tolist() == pytest.approx([0.4, 0.1])


@pytest.mark.parametrize(
    ("experts", "k", "expected"),
    [
        (256, 8, (8, 4)),
        (64, 6, (8, 4)),
        (8, 1, (4, 2)),
        (4, 4, (2, 2)),
        (5, 2, (1, 1)),
        (1, 1, (1, 1)),
    ],
)
def test_default_groups(experts: int, k: int, expected: tuple[int, int]) -> None:
    router = GroupLimited(LayerSpec(2, experts, 1.0), k=k)
    assert (router.groups, router.limit) == expected


def test_with_one_group_it_is_loss_free() -> None:
    x = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0))
    ours, other = router_of(groups=1), logits_as_input(LossFree(LayerSpec(6, 6, 6.0), k=2))
    for step in range(3):
        (first, second) = (router.train()(x + step) for router in (ours, other))
        for one, two in zip(first.dense(), second.dense(), strict=True):
            assert torch.equal(one, two)
        ours.advance()
        other.advance()
    assert torch.equal(ours.bias, other.bias) and ours.bias.any()


def test_the_loss_on_sequences_by_hand() -> None:
    # E = 2, K = 1. First sequence: gates (0.6, 0.4), (0.8, 0.2) both choose expert 0: mean gate
    # 0.7, share 1: 2 · 0.7 = 1.4. Second: (0.6, 0.4), (0.4, 0.6): 2 · (0.5 · 0.5 + 0.5 · 0.5) = 1.
    # Scores need not sum to 1: those of the first token are half as large
    scores = torch.tensor([[[0.3, 0.2], [0.8, 0.2]], [[0.6, 0.4], [0.4, 0.6]]])
    assert sequence_loss(scores, 1).item() == pytest.approx(1.2)
    # the first alone of a sequence: 2 · 0.6; a sequence of padding does not count
    mask = torch.tensor([[True, False], [False, False]])
    assert sequence_loss(scores, 1, mask).item() == pytest.approx(1.2)
    mask = torch.tensor([[True, True], [False, False]])
    assert sequence_loss(scores, 1, mask).item() == pytest.approx(1.4)


@pytest.mark.parametrize("router", [GroupLimited, LossFree])
def test_routers_weigh_the_loss_on_sequences(router: Any) -> None:
    x: Tensor = torch.tensor([[[math.log(1.5), math.log(2 / 3)]] * 2])  # scores 0.6, 0.4
    built = router(LayerSpec(2, 2, 2.0, balance_scope="global"), sequence_weight=0.5)
    routing = logits_as_input(built).train()(x)
    assert routing.losses["sequence"].item() == pytest.approx(0.5 * 2 * 0.6)
    assert "sequence" not in router(LayerSpec(2, 2, 2.0), sequence_weight=0.0)(x).losses
