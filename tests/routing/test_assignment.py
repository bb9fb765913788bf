"""Who gets which slot: against stable sorts, enumeration and numbers worked by hand."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moesuite.discovery.names import router_names
from moesuite.routers import build_router
from moesuite.routers.hash import Hash
from moesuite.routers.loss_free import LossFree
from moesuite.routers.relu import Relu
from moesuite.routing.assignment import (
    experts_take,
    pairs,
    stable_sort,
    tokens_take,
    tokens_take_in_order,
    top,
)
from moesuite.routing.losses import entropy_loss, importance_loss, load_loss
from moesuite.routing.router import EMPTY, LayerSpec, RaggedRouting, SlotRouting
from tests.routers.by_hand import logits_as_input


@settings(max_examples=60, deadline=None)
@given(length=st.integers(1, 12), data=st.data(), seed=st.integers(0, 99))
def test_top_is_a_stable_sort(length: int, data: st.DataObject, seed: int) -> None:
    k = data.draw(st.integers(1, length))
    torch.manual_seed(seed)
    # few different numbers: ties, negative ones, both zeros
    scores = torch.tensor([-1e4, -0.5, -0.0, 0.0, 1e-30, 0.25, 3e38])[torch.randint(7, (3, length))]
    values, indices = top(scores, k)
    expected, order = scores.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(indices, order[:, :k]) and torch.equal(values, expected[:, :k])


def test_top_passes_gradient_to_what_it_takes_and_shows_nan() -> None:
    scores = torch.tensor([[0.1, 0.7, 0.2]], requires_grad=True)
    top(scores, 2)[0].sum().backward()
    assert scores.grad is not None and scores.grad.tolist() == [[0.0, 1.0, 1.0]]
    for k in (1, 2):
        assert top(torch.tensor([[1.0, -math.nan, 3.0]]), k)[0].isnan()[0, 0]


@pytest.mark.parametrize("descending", [False, True])
def test_a_sort_is_stable_in_exported_programs_too(
    descending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than 16 values: PyTorch's other sort keeps the order of so few by chance."""
    torch.manual_seed(0)
    values = torch.tensor([-1.0, 0.0, 0.5, math.inf])[torch.randint(4, (5, 40))]
    expected, order = values.sort(dim=-1, descending=descending, stable=True)
    assert not torch.equal(values.sort(dim=-1, descending=descending).indices, order)
    for exports in (False, True):
        monkeypatch.setattr(torch.compiler, "is_exporting", partial(bool, exports))
        ordered, indices = stable_sort(values, descending)
        assert torch.equal(ordered, expected) and torch.equal(indices, order)


def test_slots_in_order_of_time() -> None:
    # expert 0 is wanted by tokens 0, 2, 3 and has 2 slots; expert 1 by token 1
    gates = torch.tensor([[[0.5, 0.1], [0.2, 0.6], [0.9, 0.1], [0.8, 0.3]]])
    routing = tokens_take_in_order(gates, gates > 0.4, capacity=2)
    assert routing.tokens.tolist() == [[[0, 2], [1, EMPTY]]]
    assert routing.weights[0].tolist() == [pytest.approx([0.5, 0.9]), pytest.approx([0.6, 0.0])]
    assert routing.demand().tolist() == [[3.0, 1.0]]


def test_no_choice_takes_no_slot() -> None:
    # token 1 chose nobody: expert 2 of 2
    routing = tokens_take(
        torch.ones(1, 3, 1), torch.tensor([[[0], [2], [0]]]), num_experts=2, capacity=1
    )
    assert routing.tokens.tolist() == [[[0], [EMPTY]]]
    assert routing.experts_per_token().tolist() == [[1.0, 0.0, 0.0]]


def test_scores_below_zero_are_never_taken() -> None:
    routing = experts_take(torch.tensor([[[0.3, -1.0, 0.0]]]), capacity=3)
    assert routing.tokens.tolist() == [[[0, 2, EMPTY]]]


def test_pairs_are_those_that_are_kept() -> None:
    routing = pairs(
        torch.tensor([[[0.1, 0.2]], [[0.3, 0.4]]]), torch.tensor([[[True, False]], [[True, True]]])
    )
    assert routing.tokens.tolist() == [0, 1, 1] and routing.experts.tolist() == [0, 0, 1]
    assert routing.weights.tolist() == pytest.approx([0.1, 0.3, 0.4])


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(router_names()), seed=st.integers(0, 99), data=st.data())
def test_no_router_routes_padding_or_breaks_its_limits(
    name: str, seed: int, data: st.DataObject
) -> None:
    num_experts, length = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 8))
    budget = data.draw(st.floats(0.2, num_experts))
    torch.manual_seed(seed)
    router = build_router(name, LayerSpec(4, num_experts, budget, tokens=length), {}).train(
        data.draw(st.booleans())
    )
    mask = torch.rand(3, length) < 0.7
    routing = router(torch.randn(3, length, 4) * data.draw(st.sampled_from([1.0, 1e4])), mask)
    dispatch, combine = routing.dense()
    assert torch.isfinite(combine).all() and not dispatch[~mask].any() and not combine[~mask].any()
    if isinstance(routing, SlotRouting) and name != "dense":
        assert (routing.load() <= router.group_capacity(mask)[:, None]).all()


def test_loss_free_moves_the_bias_against_the_load() -> None:
    router = logits_as_input(LossFree(LayerSpec(2, 2, 2.0), update_rate=0.25)).train()
    x = torch.tensor([[[2.0, 0.0], [1.0, 0.0], [0.1, 0.0]]])
    router(x)  # all three tokens to expert 0: its load is above the mean
    assert router.bias.tolist() == [
        0.0,
        0.0,
    ]  # not before the next forward: a recomputed one must not differ
    router.advance()
    assert router.bias.tolist() == [-0.25, 0.25]
    # σ(0.1) - 0.25 = 0.275 < σ(0) + 0.25 = 0.75; σ(1) - 0.25 = 0.481 too; σ(2) - 0.25 = 0.631 as
    # well
    routing = router.eval()(x)
    assert routing.experts.tolist() == [1, 1, 1]
    assert routing.weights.tolist() == pytest.approx(
        [0.5] * 3
    )  # the gate is σ(0), without the bias


def test_relu_penalty_follows_the_sparsity() -> None:
    # of 4 pairs 3 are positive: 1.5 experts a token against a budget of 1
    router = logits_as_input(Relu(LayerSpec(2, 2, 1.0), start=0.5)).train()
    routing = router(torch.tensor([[[3.0, 1.0], [2.0, -1.0]]]))
    assert isinstance(routing, RaggedRouting) and routing.weights.tolist() == [3.0, 1.0, 2.0]
    # loads 1 and 1/2, times E / k = 2: (5 · 2 + 1 · 1) / 2 tokens = 5.5, times λ 0.5
    assert routing.losses["l1"].item() == pytest.approx(2.75)
    router.advance()
    assert router.penalty.item() == pytest.approx(0.6)


def test_hash_spreads_positions_evenly_and_follows_ids() -> None:
    router = Hash(LayerSpec(3, 4)).eval()
    assert (router(torch.randn(2, 12, 3)).load() == 3).all()
    router.ids = torch.tensor([[5, 9, 5, 5]])
    experts = router(torch.randn(1, 4, 3)).experts.tolist()
    assert experts[0] == experts[2] == experts[3]
    router.ids = torch.arange(4000)[None]
    assert router(torch.randn(1, 4000, 3)).load().min() > 900  # of 1000


def test_importance_by_hand() -> None:
    # summed gates 0.9 + 0.2 = 1.1 and 0.1 + 0.8 = 0.9: mean 1, variance 0.01
    gates, experts = torch.tensor([[[0.9, 0.1], [0.8, 0.2]]]), torch.tensor([[[0, 1], [1, 0]]])
    assert importance_loss(gates, experts, 2).item() == pytest.approx(0.01, rel=1e-4)


def test_load_by_hand() -> None:
    # one token, logits 1 and 0, no noise drawn, deviation 1, K = 1: expert 0 is inside, the other's
    # logit is 0: Φ(1) = 0.841345; expert 1 is outside and has to beat 1: Φ(-1) = 0.158655. Mean
    # 0.5, variance 0.341345²
    logits = torch.tensor([[[1.0, 0.0]]])
    assert load_loss(logits, logits, torch.ones_like(logits), 1).item() == pytest.approx(
        0.341345**2 / 0.25, rel=1e-4
    )
    assert load_loss(logits, logits, torch.ones_like(logits), 2).item() == 0


def test_entropy_by_hand() -> None:
    assert entropy_loss(torch.zeros(2, 3, 4)).item() == pytest.approx(math.log(4))
    mask = torch.tensor([[True, False]])
    assert entropy_loss(torch.tensor([[[0.0, 0.0], [9.0, 0.0]]]), mask).item() == pytest.approx(
        math.log(2)
    )
