"""Routers against numbers worked by hand, and every router of the package against the contract."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from moesuite.discovery.names import router_names
from moesuite.errors import UserError
from moesuite.routers import build_router, router_class
from moesuite.routers.expert_choice import ExpertChoice
from moesuite.routers.soft import Soft
from moesuite.routers.token_choice import TokenChoice
from moesuite.routing.losses import balance_loss, z_loss
from moesuite.routing.router import EMPTY, LayerSpec, RaggedRouting, SlotRouting
from moesuite.testing import RouterContract
from tests.routers.by_hand import TOKENS, logits_as_input, token_choice

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in router_names()),
    ("token_choice", {"k": 2}),
    ("token_choice", {"k": 4}),
    ("token_choice", {"k": 2, "batch_priority": True}),
    ("token_choice", {"noise": 1.0}),
    ("noisy_topk", {"k": 1}),
    ("loss_free", {"k": 2}),
    ("quantile_balanced", {"k": 2}),
    ("group_limited", {"k": 2, "scores": "softmax", "best_of": 1}),
    ("sinkhorn_token_choice", {"k": 2, "noise": 0.0}),
    ("sinkhorn_expert_choice", {"noise": 0.0}),
    ("sparsity_constrained_token_choice", {"k": 2}),
    ("expert_threshold", {"warmup": 2}),
    ("token_rounding", {"k": 2, "tile": 3, "rounding": "up"}),
    ("usmoe", {"alpha": 0.0}),
    ("usmoe", {"alpha": 1.0}),
    ("usmoe", {"alpha": 1.0, "normalise": True}),
    ("soft", {"dispatch": "uniform"}),
    ("soft", {"combine": "uniform"}),
    ("soft", {"dispatch": "uniform", "combine": "uniform"}),
    ("soft", {"dispatch": "identity", "combine": "identity"}),
]


def contract(name: str, options: dict[str, Any]) -> type[RouterContract]:
    label = name + "".join(f"_{key}_{value}" for key, value in options.items())
    members = {"router": router_class(name), "options": options}
    return type(f"Test_{label}", (RouterContract,), members)


for _name, _options in VARIANTS:
    _case = contract(_name, _options)
    _case = pytest.mark.slow(_case) if _options else _case
    globals()[_case.__name__] = _case


def test_token_choice_fills_slots_in_token_order() -> None:
    # capacity ceil(1 · 4 / 2) = 2: expert 0 serves tokens 0 and 1, refuses token 2; expert 1 serves
    # token 3
    routing = token_choice(1.0).train()(TOKENS)
    assert isinstance(routing, SlotRouting)
    assert routing.tokens.tolist() == [[[0, 1], [3, EMPTY]]]
    assert routing.weights[0, 0].tolist() == pytest.approx([0.75, 0.9])
    assert routing.weights[0, 1].tolist() == pytest.approx([0.8, 0.0])
    assert routing.demand().tolist() == [[3.0, 1.0]]


def test_batch_priority_serves_the_most_certain_first() -> None:
    # top gates 0.75, 0.9, 0.667, 0.8: order 1, 3, 0, 2
    routing = token_choice(1.0, batch_priority=True).train()(TOKENS)
    assert routing.tokens.tolist() == [[[1, 0], [3, EMPTY]]]


def test_first_choices_before_second_choices() -> None:
    # k = 2, capacity ceil(1.5 · 4 / 2) = 3: expert 0 gets first choices 0, 1, 2 and no room for 3's
    # second choice; expert 1 gets 3's first choice, then second choices 0 and 1
    routing = token_choice(1.5, k=2).train()(TOKENS)
    assert routing.tokens.tolist() == [[[0, 1, 2], [3, 0, 1]]]
    assert routing.weights[0, 1].tolist() == pytest.approx(
        [0.8, 0.25, 0.1]
    )  # raw gates, not renormalised


def test_token_choice_drops_nothing_in_evaluation_unless_limited() -> None:
    router = token_choice(1.0).eval()
    routing = router(TOKENS)
    assert isinstance(routing, RaggedRouting)
    assert routing.experts.tolist() == [0, 0, 0, 1]
    router.limited = True
    assert router(TOKENS).tokens.tolist() == [[[0, 1], [3, EMPTY]]]


def test_ties_go_to_the_lower_index() -> None:
    x = torch.zeros(1, 3, 4)
    assert token_choice(1.0, num_experts=4, k=2).eval()(x).experts.tolist() == [0, 1] * 3
    routing = logits_as_input(ExpertChoice(LayerSpec(4, 4, 1.0)))(x)
    assert routing.tokens[0, :, 0].tolist() == [0] * 4


def test_expert_choice_takes_the_best_tokens_by_rank() -> None:
    # gates for expert 0: 3/4, 9/10, 2/3, 1/5 -> tokens 1, 0; for expert 1: 1/4, 1/10, 1/3, 4/5 ->
    # tokens 3, 2
    routing = logits_as_input(ExpertChoice(LayerSpec(2, 2, 1.0)))(TOKENS)
    assert routing.tokens.tolist() == [[[1, 0], [3, 2]]]
    assert routing.weights[0].flatten().tolist() == pytest.approx([0.9, 0.75, 0.8, 1 / 3])


def test_soft_softmaxes_over_tokens_and_over_slots() -> None:
    # one token direction per axis; Φ = identity: normalised logits are 1 on the diagonal, 0
    # elsewhere dispatch of slot 0: e/(e+1), 1/(e+1); combine of token 0 the same
    router = Soft(LayerSpec(2, 2, 1.0, tokens=2))
    router.phi = nn.Parameter(torch.eye(2) * 5)
    routing = router(torch.eye(2)[None] * 3)
    high = math.e / (math.e + 1)
    expected = torch.tensor([[high, 1 - high], [1 - high, high]])
    torch.testing.assert_close(routing.dispatch[0, :, :, 0], expected)
    torch.testing.assert_close(routing.combine[0, :, :, 0], expected)


def test_soft_needs_the_number_of_tokens() -> None:
    with pytest.raises(UserError, match="router.slots_per_expert=1"):
        Soft(LayerSpec(4, 2))
    assert Soft(LayerSpec(4, 2), slots_per_expert=3).phi.shape == (4, 6)


def test_noise_is_drawn_in_training_only() -> None:
    # std 100 / 2 = 50 drowns preferences of at most ln 9: some of 20 draws differ from the
    # noiseless choice
    router = token_choice(2.0, noise=100.0).train()
    torch.manual_seed(0)
    drawn = {str(router(TOKENS).tokens.tolist()) for _ in range(20)}
    assert len(drawn) > 1
    assert router.eval()(TOKENS).experts.tolist() == [0, 0, 0, 1]


def test_more_experts_per_token_than_experts() -> None:
    with pytest.raises(UserError, match=r"router.k=3: expected 1 to num_experts=2"):
        TokenChoice(LayerSpec(2, 2), k=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "router.k=0"),
        ({"noise": -1.0}, "router.noise=-1.0"),
        ({"kk": 1}, "unknown option router.kk; nearest: k"),
        ({"k": "two"}, "router.k='two'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        build_router("token_choice", LayerSpec(4, 4), options)
    assert message in str(error.value)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_uniform_balance_loss_is_one_for_every_k(k: int) -> None:
    # all gates 1/3; choices spread evenly: 3 · Σ_e 1/3 · 1/3 = 1
    logits = torch.zeros(1, 3, 3)
    experts = torch.stack([(torch.arange(3) + shift) % 3 for shift in range(k)], dim=-1)[None]
    assert balance_loss(logits, experts).item() == pytest.approx(1.0)


def test_balance_loss_by_hand() -> None:
    # mean gates of TOKENS: expert 0 (3/4 + 9/10 + 2/3 + 1/5) / 4 = 0.629167, expert 1 0.370833
    # fractions 3/4, 1/4: 2 · (0.629167 · 0.75 + 0.370833 · 0.25) = 1.129167
    experts = torch.tensor([[[0], [0], [0], [1]]])
    assert balance_loss(TOKENS, experts).item() == pytest.approx(1.129167, abs=1e-6)


def test_balance_and_z_loss_do_not_see_padding() -> None:
    experts = torch.tensor([[[0], [0], [0], [1]]])
    mask = torch.tensor([[True, True, False, False]])
    assert balance_loss(TOKENS, experts, mask).item() == pytest.approx(
        balance_loss(TOKENS[:, :2], experts[:, :2]).item()
    )
    assert z_loss(TOKENS, mask).item() == pytest.approx(z_loss(TOKENS[:, :2]).item())


def test_z_loss_by_hand() -> None:
    # logsumexp of (0, 0, 0) is ln 3: squared 1.206949
    assert z_loss(torch.zeros(2, 5, 3)).item() == pytest.approx(math.log(3) ** 2)


sizes = st.integers(1, 9)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 3),
    length=sizes,
    num_experts=st.integers(1, 6),
    data=st.data(),
    seed=st.integers(0, 99),
)
def test_capacity_is_never_exceeded_and_padding_never_routed(
    groups: int, length: int, num_experts: int, data: st.DataObject, seed: int
) -> None:
    k = data.draw(st.integers(1, num_experts))
    budget = data.draw(st.floats(0.1, num_experts))
    torch.manual_seed(seed)
    mask = torch.rand(groups, length) < 0.7
    x = torch.randn(groups, length, 5) * data.draw(st.sampled_from([1.0, 1e4]))
    spec = LayerSpec(5, num_experts, budget)
    for router in (
        TokenChoice(spec, k=k),
        TokenChoice(spec, k=k, batch_priority=True),
        ExpertChoice(spec),
    ):
        routing = router.train()(x, mask)
        assert isinstance(routing, SlotRouting)
        limit = router.group_capacity(mask)[:, None]
        assert (routing.load() <= limit).all()
        assert not (routing.experts_per_token() > 0)[~mask].any()
        assert torch.isfinite(routing.weights).all()
        check_each_pair_once(routing)


def check_each_pair_once(routing: SlotRouting) -> None:
    dispatch, _ = routing.dense()
    assert dispatch.sum(dim=3).max() <= 1  # no expert reads a token twice


@settings(max_examples=25, deadline=None)
@given(length=sizes, num_experts=st.integers(1, 6), seed=st.integers(0, 99))
def test_expert_choice_is_exactly_full(length: int, num_experts: int, seed: int) -> None:
    torch.manual_seed(seed)
    router = ExpertChoice(LayerSpec(5, num_experts, 1.0))
    routing = router(torch.randn(2, length, 5))
    assert (routing.load() == router.capacity(length)).all()


def test_gates_are_float32_under_autocast() -> None:
    router = TokenChoice(LayerSpec(8, 4))
    x: Tensor = torch.randn(1, 4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
        assert router.to(torch.bfloat16).train()(x).weights.dtype == torch.float32
