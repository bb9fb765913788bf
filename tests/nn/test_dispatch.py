"""Forms of routing and ways to move tokens, against hand-worked numbers and the reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moesuite.errors import UserError
from moesuite.nn.dispatch import apply_experts, reference
from moesuite.nn.experts import Experts
from moesuite.nn.stats import count, health, refused
from moesuite.routers.expert_choice import ExpertChoice
from moesuite.routing.router import (
    EMPTY,
    LayerSpec,
    RaggedRouting,
    Routing,
    SlotRouting,
    SoftRouting,
)
from moesuite.testing import small_mlp


def slot_routing() -> SlotRouting:
    # group 0: expert 0 reads tokens 2 and 0, expert 1 reads token 2 and has an empty slot
    tokens = torch.tensor([[[2, 0], [2, EMPTY]]])
    weights = torch.tensor([[[0.5, 0.25], [0.125, 0.0]]])
    return SlotRouting(tokens, weights, num_tokens=3, demanded=torch.tensor([[3.0, 1.0]]))


def test_slots_as_dense_tensors() -> None:
    dispatch, combine = slot_routing().dense()
    expected = torch.zeros(1, 3, 2, 2)
    expected[0, 2, 0, 0] = expected[0, 0, 0, 1] = expected[0, 2, 1, 0] = 1
    assert torch.equal(dispatch, expected)
    assert (
        combine[0, 2, 0, 0] == 0.5 and combine[0, 0, 0, 1] == 0.25 and combine[0, 2, 1, 0] == 0.125
    )
    assert combine.sum() == 0.875


def test_counts_of_slots() -> None:
    routing = slot_routing()
    assert routing.load().tolist() == [[2.0, 1.0]]
    assert routing.demand().tolist() == [[3.0, 1.0]]
    assert routing.experts_per_token().tolist() == [[1.0, 0.0, 2.0]]


def test_ragged_as_dense_tensors() -> None:
    # two groups of two tokens; pairs (token, expert): (0,1) (1,1) in group 0, (3,0) in group 1
    routing = RaggedRouting(
        torch.tensor([0, 1, 3]), torch.tensor([1, 1, 0]), torch.tensor([0.5, 0.25, 1.0]), 2, 2, 2
    )
    dispatch, combine = routing.dense()
    assert dispatch.shape == (2, 2, 2, 2)  # expert 1 holds two tokens of group 0
    assert combine[0, 0, 1, 0] == 0.5 and combine[0, 1, 1, 1] == 0.25 and combine[1, 1, 0, 0] == 1.0
    assert dispatch.sum() == 3
    assert routing.load().tolist() == [[0.0, 2.0], [1.0, 0.0]]
    assert routing.experts_per_token().tolist() == [[1.0, 1.0], [0.0, 1.0]]


def test_health_of_slots() -> None:
    # load 2 and 1 of 3: shares 2/3, 1/3; token 1 of 3 unserved; demand 4, refused 1/4
    # entropy (2/3 ln 1.5 + 1/3 ln 3) / ln 2 = (0.27031 + 0.36620) / 0.69315 = 0.91830
    counts = count(slot_routing())
    found = health(counts)
    assert found.load == pytest.approx([2 / 3, 1 / 3], abs=1e-6)
    assert found.unserved == pytest.approx(1 / 3)
    assert refused(counts) == pytest.approx(0.25)
    assert found.dead == 0
    assert found.entropy == pytest.approx(0.91830, abs=1e-4)
    assert found.pairs_per_token == pytest.approx(1.0)


def test_counts_add_up_and_ignore_padding() -> None:
    mask = torch.tensor([[True, False, True]])
    twice = count(slot_routing(), mask) + count(slot_routing())
    assert int(twice.unserved) == 1 and int(twice.tokens) == 5
    assert twice.load.tolist() == [4.0, 2.0]


def test_an_expert_without_load_is_dead() -> None:
    routing = RaggedRouting(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.ones(2), 1, 2, 3)
    found = health(count(routing))
    assert found.dead == 2 and found.entropy == 0


def random_routing(form: str, groups: int, length: int, num_experts: int, seed: int) -> Routing:
    generator = torch.Generator().manual_seed(seed)
    if form == "soft":
        logits = torch.randn(groups, length, num_experts * 2, generator=generator)
        shape = (num_experts, 2)
        return SoftRouting(
            logits.softmax(1).unflatten(2, shape), logits.softmax(2).unflatten(2, shape)
        )
    if form == "slots":
        shape = (groups, num_experts, 3)
        tokens = torch.randint(-1, length, shape, generator=generator)
        weights = torch.rand(shape, generator=generator) * (tokens != EMPTY)
        return SlotRouting(tokens, weights, length)
    chosen = torch.rand(groups * length, num_experts, generator=generator) < 0.4
    tokens, experts = chosen.nonzero(as_tuple=True)
    return RaggedRouting(
        tokens, experts, torch.rand(len(tokens), generator=generator), groups, length, num_experts
    )


@settings(max_examples=25, deadline=None)
@given(
    form=st.sampled_from(["soft", "slots", "ragged"]),
    groups=st.integers(1, 3),
    length=st.integers(1, 7),
    num_experts=st.integers(1, 5),
    gated=st.booleans(),
    norm=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_path_equals_the_reference_forward_and_gradient(
    form: str, groups: int, length: int, num_experts: int, gated: bool, norm: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    experts = Experts(small_mlp(gated=gated, norm=norm), num_experts)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter)
    routing = random_routing(form, groups, length, num_experts, seed)
    x = torch.randn(groups, length, 6, requires_grad=True)
    inputs = [x, *experts.parameters()]
    outputs, gradients = [], []
    for path in (apply_experts, reference):
        y = path(x, routing, experts)
        outputs.append(y)
        gradients.append(torch.autograd.grad(y.square().sum(), inputs, allow_unused=True))
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(*gradients, strict=True):
        if theirs is not None:
            gradient = torch.zeros_like(theirs) if ours is None else ours
            torch.testing.assert_close(gradient, theirs, rtol=1e-3, atol=1e-3)


def test_capacity_is_the_exact_ceiling() -> None:
    # 1.25 · 10 / 4 = 3.125 -> 4 slots; 1.1 · 10 / 1 = 11 exactly, although floats say
    # 11.000000000000002
    assert ExpertChoice(LayerSpec(4, 4, 1.25)).capacity(10) == 4
    assert ExpertChoice(LayerSpec(4, 2, 1.1)).capacity(20) == 11
    assert ExpertChoice(LayerSpec(4, 8, 0.01)).capacity(10) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_experts": 0}, "num_experts=0"),
        ({"num_experts": 4, "slots_per_token": -1.0}, "slots_per_token=-1.0"),
        ({"num_experts": 4, "slots_per_token": 5.0}, "at most num_experts=4"),
        ({"num_experts": 4, "eval_slots_per_token": 0.0}, "eval_slots_per_token=0.0"),
    ],
)
def test_a_layer_out_of_range_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LayerSpec(dim=4, **values)  # type: ignore[arg-type]
