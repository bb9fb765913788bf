"""Who gets which slot: against stable sorts, enumeration and numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from moesuite.config.discovery import router_names
from moesuite.errors import UserError
from moesuite.routers import build_router
from moesuite.routers.comparison import Comparison
from moesuite.routers.expert_choice_causal import ExpertChoiceCausal
from moesuite.routers.hash import Hash
from moesuite.routers.loss_free import LossFree
from moesuite.routers.relu import Relu
from moesuite.routers.usmoe import USMoE
from moesuite.routing.assignment import (
    experts_take,
    pairs,
    score_that_a_share_exceeds,
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


def test_causal_expert_choice_learns_the_threshold_of_expert_choice() -> None:
    router = logits_as_input(ExpertChoiceCausal(LayerSpec(2, 2, 1.0), momentum=0.5)).train()
    # gates of expert 0: 3/4, 9/10, 2/3, 1/5; with 2 slots each, expert choice ends at 3/4 and, for
    # expert 1, at 1/3
    x = torch.tensor(
        [[[math.log(3), 0.0], [math.log(9), 0.0], [math.log(2), 0.0], [0.0, math.log(4)]]]
    )
    router(x)
    router.advance()
    assert router.threshold.tolist() == pytest.approx([3 / 4, 1 / 3])
    router.eval()
    routing = router(x)  # above, not at, the threshold
    assert list(zip(routing.tokens.tolist(), routing.experts.tolist(), strict=True)) == [
        (1, 0),
        (3, 1),
    ]


def test_the_threshold_of_the_population_by_hand() -> None:
    spec = LayerSpec(2, 2, 1.0)
    router = logits_as_input(ExpertChoiceCausal(spec, momentum=0.5, threshold="population")).train()
    # before the first step: logits of spread σ = 0.02·√2; e^0 over e^(-0.4307·σ) + e^(0.4307·σ) = 1
    # / 2.000148
    assert router.threshold.tolist() == pytest.approx([0.499963] * 2, abs=1e-6)
    # two sequences of two tokens; gates of expert 0: 3/4, 9/10 | 2/3, 1/5; of expert 1: 1/4, 1/10 |
    # 1/3, 4/5
    x = torch.tensor(
        [[[math.log(3), 0.0], [math.log(9), 0.0]], [[math.log(2), 0.0], [0.0, math.log(4)]]]
    )
    router(x)
    router.advance()
    # half of the four tokens exceed the third best: 2/3 and 1/4. (By groups: the best of each,
    # meaned: 0.783, 0.525)
    assert router.threshold.tolist() == pytest.approx([2 / 3, 1 / 4])
    routing = router.eval()(x)  # each expert has exactly two, across the sequences
    kept = list(zip(routing.tokens.tolist(), routing.experts.tolist(), strict=True))
    assert kept == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert routing.weights.tolist() == pytest.approx([3 / 4, 9 / 10, 1 / 3, 4 / 5])
    # of three real tokens floor(3 / 2) = 1 exceeds the second best: 3/4, 1/4; the mean moves by 0.5
    # / (1 - 0.5²) = 2/3
    router.train()(x, torch.tensor([[True, True], [True, False]]))
    router.advance()
    assert router.threshold.tolist() == pytest.approx([2 / 3 + 2 / 3 * (3 / 4 - 2 / 3), 1 / 4])
    router(x, torch.zeros(2, 2, dtype=torch.bool))  # padding alone teaches nothing
    router.advance()
    assert router.threshold.tolist() == pytest.approx([2 / 3 + 2 / 3 * (3 / 4 - 2 / 3), 1 / 4])


def test_the_threshold_of_the_population_knows_no_capacity() -> None:
    # all eight tokens are as the one that scored 9/10, above 2/3: all go to expert 0, which has 4
    # slots by groups
    x = torch.tensor([math.log(9), 0.0]).expand(1, 8, 2)
    loads = {}
    for rule in ("group", "population"):
        router = logits_as_input(ExpertChoiceCausal(LayerSpec(2, 2, 1.0), threshold=rule)).train()
        router.threshold = torch.tensor([2 / 3, 1 / 4])
        loads[rule] = router(x).load().tolist()
    assert loads == {"group": [[4.0, 0.0]], "population": [[8.0, 0.0]]}
    with pytest.raises(
        UserError,
        match=r"eval_slots_per_token=1.0 with router.threshold=population, which has no cap",
    ):
        ExpertChoiceCausal(LayerSpec(2, 2, 1.0, eval_slots_per_token=1.0), threshold="population")


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 12), share=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_exactly_a_share_of_the_tokens_exceeds_its_score(
    length: int, share: float, seed: int
) -> None:
    torch.manual_seed(seed)
    scores, real = torch.rand(3, length, 4) + 0.01, torch.rand(3, length) < 0.7
    found = score_that_a_share_exceeds(scores, real, share)
    for unit in range(3):
        count = int(real[unit].sum())
        above = (scores[unit][real[unit]] > found[unit]).sum(dim=0)
        assert (
            above.tolist() == [math.floor(share * count + 1e-9)] * 4
            if count
            else found[unit].isnan().all()
        )


def test_comparison_learns_which_expert_the_loss_prefers() -> None:
    torch.manual_seed(0)
    router = Comparison(LayerSpec(2, 2, 2.0), share=0.5).train()
    x = torch.randn(64, 4, 2)
    routing = router(x)
    # expert 1 always answers with what lowers the loss: the gradient of its weights is -1, of
    # expert 0's +1
    by_weight = torch.tensor([1.0, -1.0])[None, :, None].expand_as(routing.weights)
    (routing.weights * by_weight).sum().add(routing.losses["comparison"]).backward()
    # a step down the gradient must raise logit 1 over logit 0: d(z_0 - z_1) = -lr · x·(g_0 - g_1)
    gradient = router.gate.weight.grad
    assert gradient is not None
    before = router.last.item()
    assert before == pytest.approx(math.log(2), abs=0.05)  # a gate that knows nothing
    with torch.no_grad():
        for _ in range(200):
            router.gate.weight.grad = None
            with torch.enable_grad():
                routing = router(x.abs())
                (routing.weights * by_weight).sum().add(routing.losses["comparison"]).backward()
            router.gate.weight -= 0.5 * router.gate.weight.grad
    assert router.last.item() < 0.3 * before
    assert (router.gate(x.abs()).argmax(dim=-1) == 1).float().mean() > 0.95


def test_comparison_gate_sees_nothing_but_comparisons() -> None:
    torch.manual_seed(0)
    router = Comparison(LayerSpec(4, 4), share=0.5).train()
    router(
        torch.randn(2, 8, 4)
    ).weights.sum().backward()  # the task alone, without the comparisons' loss
    assert router.gate.weight.grad is None or not router.gate.weight.grad.any()
    router.eval()
    assert not router(torch.randn(2, 8, 4)).weights.requires_grad


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
