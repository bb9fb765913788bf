"""Every option of every router does something, and what it does is the number worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moesuite.discovery.names import router_defaults, router_names
from moesuite.errors import UserError
from moesuite.routers import build_router
from moesuite.routing.router import LayerSpec, RaggedRouting, Router, SlotRouting
from moesuite.routing.transport import sinkhorn
from tests.routers.by_hand import TOKENS, logits_as_input
from tests.routers.other_values import OTHER


def trace(name: str, options: dict[str, Any]) -> list[Tensor]:
    """Return routings, losses, gradients and state of three training passes.

    Three, so that running statistics show.
    """
    torch.manual_seed(0)
    router = build_router(name, LayerSpec(6, 4, 1.0, tokens=8), options).train()
    for parameter in router.parameters():
        if parameter.ndim >= 2:
            nn.init.normal_(parameter)
    x, seen = torch.randn(3, 2, 8, 6), list[Tensor]()
    for step in range(3):
        torch.manual_seed(step)
        router.advance()
        routing = router(x[step])
        objective = routing.dense()[1].square().sum() + sum(routing.losses.values())
        if objective.requires_grad:
            objective.backward()
        gradients = [p.grad.clone() for p in router.parameters() if p.grad is not None]
        seen += [
            *(tensor.detach() for tensor in routing.dense()),
            *(loss.detach() for loss in routing.losses.values()),
            *gradients,
        ]
        seen += [state.clone() for state in router.buffers()]
    return seen


@pytest.mark.parametrize("name", router_names())
def test_no_option_is_without_effect(name: str) -> None:
    others = OTHER.get(name, {})
    assert others.keys() == router_defaults(name).keys()
    if others:
        plain = trace(name, {})
        for option, value in others.items():
            changed = trace(name, {option: value})
            same = len(plain) == len(changed) and all(map(torch.equal, plain, changed))
            assert not same, f"router.{option}={value} changes nothing"


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "expert_choice_causal",
            {"threshold": "population"},  # of earlier versions
            "router.threshold is no option any more; expected, for population, "
            "router=expert_threshold, and for group, router=expert_choice_causal without it",
        ),
        (
            "expert_threshold",
            {"warmup": -1},
            "router.warmup=-1: input should be greater than or equal to 0",
        ),
        (
            "soft",
            {"dispatch": "learnt"},
            "router.dispatch='learnt': input should be 'learned', 'uniform' or 'identity'",
        ),
        (
            "usmoe",
            {"normalise": "perhaps"},
            "router.normalise='perhaps': input should be a valid boolean",
        ),
        (
            "group_limited",
            {"groups": 3},
            "router.groups=3: expected a divisor of num_experts=4 (1, 2, 4), e.g. router.groups=2",
        ),
        (
            "group_limited",
            {"k": 3, "limit": 1},
            "router.limit=1: expected 2 to 2 of groups of 2 experts with router.k=3, e.g. "
            "router.limit=2",
        ),
        ("group_limited", {"limit": 3}, "router.limit=3: expected 1 to 2 of groups of 2 experts"),
        ("switch", {"jitter": 2.0}, "router.jitter=2.0: input should be less than or equal to 1"),
    ],
)
def test_a_bad_value_is_one_clear_line(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        build_router(name, LayerSpec(4, 4, tokens=4), options)
    assert str(error.value).startswith(says) and "\n" not in str(error.value)


def test_cosine_by_hand() -> None:
    # E = 2, so 2 dimensions. Token (3, 4) has cosines 0.6 and 0.8 with the axes; over τ = 0.5:
    # logits 1.2 and 1.6; softmax of expert 1: 1 / (1 + e^-0.4) = 0.598688; scale of the token plays
    # no role
    router = build_router(
        "cosine", LayerSpec(2, 2, 2.0), {"temperature": 0.5, "balance_weight": 2.0}
    ).eval()
    router.projection, router.embeddings = (
        nn.Parameter(torch.eye(2) * scale) for scale in (1.0, 7.0)
    )  # type: ignore[assignment]
    routing = router(torch.tensor([[[3.0, 4.0], [30.0, 40.0]]]))
    assert routing.experts.tolist() == [1, 1]
    assert routing.weights.tolist() == pytest.approx([0.598688, 0.598688], abs=1e-6)
    # balance: 2 · (mean gate 0.598688 · share 1) = 1.197375, times its weight 2
    assert routing.losses["balance"].item() == pytest.approx(2 * 1.197375, abs=1e-5)


@pytest.mark.parametrize(
    ("p", "counts"), [(0.45, [1, 1]), (0.55, [2, 1]), (0.85, [3, 2]), (1.0, [3, 3])]
)
def test_top_p_takes_the_smallest_set_that_reaches_p(p: float, counts: list[int]) -> None:
    # gates 0.5, 0.3, 0.2 (sums 0.5, 0.8, 1) and 0.6, 0.3, 0.1 (sums 0.6, 0.9, 1)
    gates = torch.tensor([[[0.5, 0.3, 0.2], [0.3, 0.6, 0.1]]])
    router = logits_as_input(
        build_router("top_p", LayerSpec(3, 3, 1.0), {"p": p, "entropy_weight": 1.0})
    ).eval()
    routing = router(gates.log())
    assert routing.experts_per_token().tolist() == [counts]
    best = gates[0].sort(dim=-1, descending=True).values
    expected = [
        gate for row, count in zip(best.tolist(), counts, strict=True) for gate in row[:count]
    ]
    assert routing.weights.tolist() == pytest.approx(expected)
    # entropies 1.029653 and 0.897946 nats, mean 0.963800
    assert routing.losses["entropy"].item() == pytest.approx(0.963800, abs=1e-5)


def test_switch_jitters_its_input_by_at_most_epsilon() -> None:
    # one token with logits (1, 0): gate 0.731059. Factors in [0.5, 1.5]: gates in [σ(0.5), σ(1.5)]
    # = [0.6225, 0.8176]
    router = logits_as_input(build_router("switch", LayerSpec(2, 2, 2.0), {"jitter": 0.5}))
    x = torch.tensor([[[1.0, 0.0]]])
    torch.manual_seed(0)
    drawn = torch.stack([router.train()(x).weights[0, 0, 0] for _ in range(50)])
    assert 0.622459 <= drawn.min() < 0.66 < 0.78 < drawn.max() <= 0.817575
    assert router.eval()(x).weights.item() == pytest.approx(0.731059, abs=1e-6)


def test_weights_of_losses_by_hand() -> None:
    # balance of TOKENS is 1.129167 (test_routers.py); logsumexps ln 4, ln 10, ln 3, ln 5, mean
    # square 2.755121
    options = {"balance_weight": 3.0, "z_weight": 0.5}
    losses = (
        logits_as_input(build_router("token_choice", LayerSpec(2, 2), options))
        .eval()(TOKENS)
        .losses
    )
    assert losses["balance"].item() == pytest.approx(3 * 1.129167, abs=1e-5)
    squares = [math.log(n) ** 2 for n in (4, 10, 3, 5)]
    assert losses["z"].item() == pytest.approx(0.5 * sum(squares) / 4, abs=1e-5)
    # noisy top-1: all gates are 1; three tokens for expert 0, one for the other: mean 2, variance
    # 1, CV² 1/4
    router = logits_as_input(
        build_router("noisy_topk", LayerSpec(2, 2), {"k": 1, "importance_weight": 2.0})
    ).eval()
    assert router(TOKENS).losses["importance"].item() == pytest.approx(2 * 0.25)


def test_random_weighs_its_choices_equally() -> None:
    routing = build_router("random", LayerSpec(2, 4), {"k": 2}).eval()(torch.zeros(2, 9, 2))
    assert routing.weights.tolist() == [0.5] * 36
    assert routing.experts.reshape(18, 2).diff(dim=1).all()  # two different ones for each token


def test_sinkhorn_routers_choose_by_the_plan_and_weigh_by_the_gate() -> None:
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    plan, gates = sinkhorn(x, iterations=3), x.softmax(dim=-1)
    options = {"noise": 0.0, "iterations": 3}
    tokens = logits_as_input(
        build_router("sinkhorn_token_choice", LayerSpec(3, 3), options)
    ).eval()(x)
    assert isinstance(tokens, RaggedRouting) and torch.equal(
        tokens.experts, plan.argmax(dim=-1).flatten()
    )
    torch.testing.assert_close(
        tokens.weights, gates.flatten(0, 1).gather(1, tokens.experts[:, None])[:, 0]
    )
    experts = logits_as_input(
        build_router("sinkhorn_expert_choice", LayerSpec(3, 3), options)
    ).eval()(x)
    assert isinstance(experts, SlotRouting)
    assert torch.equal(
        experts.tokens, plan.transpose(1, 2).topk(2, dim=-1).indices
    )  # 6 tokens, 3 experts
    torch.testing.assert_close(experts.weights, gates.transpose(1, 2).gather(2, experts.tokens))


@pytest.mark.parametrize("options", [{"dispatch": "uniform"}, {"combine": "uniform"}])
def test_uniform_mixing_of_soft_moe(options: dict[str, Any]) -> None:
    routing = build_router("soft", LayerSpec(4, 2, tokens=6), {"slots_per_expert": 2, **options})(
        torch.randn(1, 6, 4)
    )
    # dispatch: 1/T of each of 6 tokens; combine: 1/S of each of 4 slots
    tensor, share = (routing.dispatch, 1 / 6) if "dispatch" in options else (routing.combine, 1 / 4)
    torch.testing.assert_close(tensor, torch.full((1, 6, 2, 2), share))
    other = routing.combine if "dispatch" in options else routing.dispatch
    assert other.std() > 0


def test_identity_mixing_of_soft_moe() -> None:
    options = {"dispatch": "identity", "combine": "identity"}
    router: Router = build_router(
        "soft", LayerSpec(4, 2, tokens=6), {"slots_per_expert": 3, **options}
    )
    routing = router(torch.randn(1, 6, 4))
    assert torch.equal(routing.dispatch.flatten(2)[0], torch.eye(6)) and torch.equal(
        routing.combine, routing.dispatch
    )
    with pytest.raises(UserError, match="expected identity for both or neither"):
        build_router("soft", LayerSpec(4, 2, tokens=6), {"dispatch": "identity"})


def test_another_salt_is_another_hash() -> None:
    router = [build_router("hash", LayerSpec(1, 4), {"salt": salt}).eval() for salt in (0, 1)]
    for one in router:
        one.ids = torch.arange(400)[None]
    first, second = (one(torch.zeros(1, 400, 1)).experts for one in router)
    # independent functions onto 4 experts agree on a quarter of the ids: 100 of 400, give or take 4
    # deviations of 9
    assert 64 < (first == second).sum() < 136
