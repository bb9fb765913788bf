"""Mixture-of-Depths: who goes through the MLP, with what weight, and what predicts it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from moesuite.errors import UserError
from moesuite.routers.mixture_of_depths import MixtureOfDepths
from moesuite.routing.router import EMPTY, LayerSpec, RaggedRouting, SlotRouting
from tests.routers.by_hand import logits_as_input

# four tokens of width 1, which are their gates; and of width 2, for two paths
ONE = torch.tensor([[[3.0], [-1.0], [2.0], [0.5]]])
TWO = torch.tensor([[[3.0, -4.0], [-1.0, 5.0], [2.0, 1.0], [0.5, 0.0]]])


def router_of(experts: int, slots: float) -> MixtureOfDepths:
    router = MixtureOfDepths(LayerSpec(experts, experts, slots))
    logits_as_input(router)
    nn.init.zeros_(router.predictor.out.weight)
    return router


def test_the_best_tokens_take_the_only_path() -> None:
    # C = ceil(0.5 · 4 / 1) = 2: tokens 0 and 2, weighed by r; the others skip
    routing = router_of(1, 0.5).train()(ONE)
    assert isinstance(routing, SlotRouting)
    assert routing.tokens.tolist() == [[[0, 2]]] and routing.weights.tolist() == [[[3.0, 2.0]]]
    assert routing.experts_per_token().tolist() == [[1.0, 0.0, 1.0, 0.0]]
    # the best of negative ones is negative
    assert router_of(1, 0.25).train()(ONE - 4).weights.tolist() == [[[-1.0]]]


def test_several_paths_choose_by_themselves() -> None:
    # C = ceil(1 · 4 / 2) = 2 for each: token 2 takes both, token 3 none
    routing = router_of(2, 1.0).train()(TWO)
    assert routing.tokens.tolist() == [[[0, 2], [1, 2]]]
    assert routing.weights.tolist() == [[[3.0, 2.0], [5.0, 1.0]]]
    # magnitudes of token 2 sum to 3
    assert routing.renormalised().weights[0, :, 1].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_padding_takes_no_path() -> None:
    mask = torch.tensor([[False, True, True, True]])
    routing = router_of(1, 0.5).train()(ONE, mask)  # ceil(0.5 · 3) = 2 of three
    assert routing.tokens.tolist() == [[[2, 3]]]
    alone = router_of(1, 0.5).train()(ONE[:, 1:])
    assert routing.losses["predictor"].item() == pytest.approx(alone.losses["predictor"].item())
    none = router_of(1, 0.5).train()(ONE, mask & False)
    assert none.tokens.tolist() == [[[EMPTY] * 2]] and none.losses["predictor"].item() == 0


def test_the_predictor_decides_in_evaluation() -> None:
    router = router_of(1, 0.5)
    predictor = router.predictor
    for value in (predictor.hidden.weight, predictor.out.weight):
        value.data.fill_(1.0)
    predictor.hidden.bias.data.fill_(0.0)  # gelu(x) > 0 where x > 0
    routing = router.eval()(ONE)
    assert isinstance(routing, RaggedRouting)
    assert routing.tokens.tolist() == [0, 2, 3]
    assert routing.weights.tolist() == [3.0, 2.0, 0.5]
    assert "predictor" not in routing.losses
    assert router(ONE[:, :1]).tokens.tolist() == [0]  # whatever comes after it


def test_the_predictor_learns_beside_the_model() -> None:
    router = router_of(1, 0.5).train()
    x = ONE.clone().requires_grad_()
    loss = router(x).losses["predictor"]
    assert loss.item() == pytest.approx(math.log(2))  # all predictions are 0
    loss.backward()
    # not even through x: nothing but the predictor changes
    assert x.grad is None and router.gate.weight.grad is None
    assert router.predictor.out.weight.grad is not None
    # logits are h·1 = gelu(x): of 3, -1, 2, 0.5: log(1 + e^-2.99595), log(1 + e^-0.158655),
    # log(1 + e^-1.9545), log(1 + e^0.345731); tokens 0 and 2 are taken
    router = router_of(1, 0.5).train()
    for value in (router.predictor.hidden.weight, router.predictor.out.weight):
        value.data.fill_(1.0)
    router.predictor.hidden.bias.data.fill_(0.0)
    errors = [math.log1p(math.exp(z)) for z in (-2.99595, -0.158655, -1.9545, 0.345731)]
    assert router(ONE).losses["predictor"].item() == pytest.approx(sum(errors) / 4, abs=1e-4)


@pytest.mark.slow
def test_predictions_come_to_agree_with_the_ranking() -> None:
    torch.manual_seed(0)
    router = MixtureOfDepths(LayerSpec(16, 4, 1.0)).train()
    nn.init.normal_(router.gate.weight)
    optimizer = torch.optim.Adam(router.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        router(torch.randn(8, 64, 16)).losses["predictor"].backward()
        optimizer.step()
    x = torch.randn(8, 64, 16)
    taken = router(x).dense()[0].sum(dim=-1)
    predicted = router.eval()(x).dense()[0].sum(dim=-1)
    assert (taken == predicted).float().mean() > 0.9  # three quarters if none is taken
    assert predicted.sum() / (8 * 64) == pytest.approx(1.0, abs=0.2)  # the budget, on average


def test_evaluation_has_no_limit() -> None:
    with pytest.raises(
        UserError, match=r"eval_slots_per_token=0.5: expected none, or slots_per_token=1.0"
    ):
        MixtureOfDepths(LayerSpec(2, 2, 1.0, eval_slots_per_token=0.5))
