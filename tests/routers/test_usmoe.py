"""USMoE: the best pairs of a sequence, by enumeration and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from moesuite.routers.usmoe import USMoE
from moesuite.routing.router import LayerSpec
from tests.routers.by_hand import logits_as_input


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 9),
    num_experts=st.integers(1, 5),
    alpha=st.floats(0, 1),
    budget=st.floats(0.2, 2.0),
    padded=st.integers(0, 4),
    left=st.booleans(),
    normalise=st.booleans(),
    seed=st.integers(0, 99),
)
def test_usmoe_keeps_the_best_pairs_of_each_sequence(
    length: int,
    num_experts: int,
    alpha: float,
    budget: float,
    padded: int,
    left: bool,
    normalise: bool,
    seed: int,
) -> None:
    """Selection is by raw scores in both forms; `normalise` divides the weights afterwards."""
    torch.manual_seed(seed)
    budget = float(min(budget, num_experts))
    router = USMoE(LayerSpec(3, num_experts, budget), alpha=alpha, normalise=normalise)
    nn.init.normal_(router.gate.weight)
    x = torch.randn(2, length, 3)
    padding = torch.full((2, padded, 3), 9.0)
    mask = torch.ones(2, length + padded, dtype=torch.bool)
    mask[:, slice(padded) if left else slice(length, None)] = False
    routing = router(torch.cat([padding, x] if left else [x, padding], dim=1), mask)
    first = padded if left else 0
    for group in range(2):
        expected, sums = {}, {}
        for token in range(length):
            z = (x[group, token] @ router.gate.weight.T).tolist()
            largest = max(z)
            total = sum(math.exp(v - largest) for v in z)
            for expert, v in enumerate(z):
                tc, ec = math.exp(v - largest) / total, 2 / (1 + math.exp(-v)) / num_experts
                expected[first + token, expert] = (1 - alpha) * tc + alpha * ec
            sums[first + token] = sum(
                expected[first + token, expert] for expert in range(num_experts)
            )
        count = max(1, round(length * budget))
        best = sorted(expected, key=lambda pair: -expected[pair])[:count]
        mine = (routing.tokens // (length + padded)) == group
        kept = list(
            zip(
                (routing.tokens[mine] % (length + padded)).tolist(),
                routing.experts[mine].tolist(),
                strict=True,
            )
        )
        assert len(kept) == count
        # equal scores may be told apart by float32 alone
        assert sum(expected[pair] for pair in kept) == pytest.approx(
            sum(expected[pair] for pair in best), rel=1e-5
        )
        weights = [expected[pair] / (sums[pair[0]] if normalise else 1) for pair in kept]
        assert routing.weights[mine].tolist() == pytest.approx(weights, rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    budget=st.floats(0.2, 4.0),
    masked=st.booleans(),
    training=st.booleans(),
    seed=st.integers(0, 99),
)
def test_usmoe_normalising_never_changes_which_pairs_are_kept(
    budget: float, masked: bool, training: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    x, mask = 3 * torch.randn(3, 7, 5), torch.rand(3, 7) < 0.7 if masked else None
    gate = torch.randn(4, 5)
    routings = []
    for normalise in (False, True):
        router = USMoE(LayerSpec(5, 4, budget), normalise=normalise).train(training)
        router.gate.weight = nn.Parameter(gate)
        routings.append(router(x, mask))
    raw, normalised = routings
    assert torch.equal(raw.tokens, normalised.tokens) and torch.equal(
        raw.experts, normalised.experts
    )
    logits = (x @ gate.T).flatten(0, 1)
    sums = (0.5 * logits.softmax(dim=-1) + logits.sigmoid() / 4).sum(
        dim=-1
    )  # of a token, over all 4 experts
    torch.testing.assert_close(
        normalised.weights, raw.weights / sums[raw.tokens], rtol=1e-5, atol=1e-6
    )


def test_usmoe_normalised_by_hand() -> None:
    # α = 1 and E = 2: scores are σ(z). Token 0: 0.6, 0.5; token 1: 0.4, 0.1. The best two of four
    # are 0.6 and 0.5, both of token 0, whose scores sum to 1.1. Divided first, they would be 0.545,
    # 0.455 and 0.8, 0.2: other pairs
    router = logits_as_input(USMoE(LayerSpec(2, 2, 1.0), alpha=1.0, normalise=True))
    routing = router(torch.tensor([[[0.6, 0.5], [0.4, 0.1]]]).logit())
    assert list(zip(routing.tokens.tolist(), routing.experts.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
    ]
    assert routing.weights.tolist() == pytest.approx([0.6 / 1.1, 0.5 / 1.1])


def test_usmoe_budget_is_fractional() -> None:
    assert len(USMoE(LayerSpec(4, 8, 1.5)).eval()(torch.randn(2, 10, 4)).tokens) == 2 * 15
