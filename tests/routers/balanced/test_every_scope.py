"""`balance_scope` in every router: losses, their gradients and the statistics of a training step.

sequence: means of what each group gives alone; global: what all tokens in one group give; local: on
one process, the same as global.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from moesuite.config.schema import BalanceScope
from moesuite.discovery.names import router_names
from moesuite.routers import build_router
from moesuite.routing.router import LayerSpec
from tests.routing.processes import BALANCED, DIM, EXPERTS, GROUPS, LENGTHS, TOKENS, WholeDraws
from tests.routing.processes import build as build_layer

Case = tuple[str, dict[str, Any]]
# decisions are made by tokens of a group among each other, or by nothing that is pooled
WITHOUT = {
    *("base", "dense", "expert_choice", "hash", "random", "sinkhorn_expert_choice"),
    *("sinkhorn_token_choice", "soft", "sparsity_constrained_expert_choice"),
    *("sparsity_constrained_token_choice", "usmoe"),
}
CASES: list[Case] = [
    *BALANCED,
    ("cosine", {"balance_weight": 1.0}),
    ("switch", {"balance_weight": 1.0, "jitter": 0.0}),
    ("token_rounding", {"balance_weight": 1.0}),
    ("loss_free", {"k": 2, "sequence_weight": 1.0}),
]
# statistics of what each group decides by itself, or of each sequence in every scope
BY_GROUP = ("comparison", "expert_choice_causal", "mixture_of_depths")
POOLED = [case for case in CASES if case[0] not in BY_GROUP and "sequence_weight" not in case[1]]
MASK = torch.arange(TOKENS) < LENGTHS[:, None]  # the last group is padding


def tokens() -> Tensor:
    return torch.randn(GROUPS, TOKENS, DIM, generator=torch.Generator().manual_seed(1))


def statistics(
    case: Case, scope: BalanceScope, x: Tensor, mask: Tensor, group: int = 0, groups: int = 1
) -> list[Tensor]:
    """Return losses, their gradients and the state of one training step.

    A group taken alone gets its own share of the draws of the batch.
    """
    name, options = case
    router = build_layer((name, options, scope)).router
    torch.manual_seed(2)
    with WholeDraws(group, groups) if groups > 1 else nullcontext():
        routing = router(x, mask)
    objective = sum(routing.losses.values(), torch.zeros(()))
    if name == "comparison":  # learns from the gradient of weights, and knows its loss afterwards
        (objective + routing.dense()[1].square().sum()).backward()
    elif objective.requires_grad:
        objective.backward()
    state = [value for key, value in router.named_buffers() if key != "last"]
    losses = [] if name == "comparison" else [loss.detach() for loss in routing.losses.values()]
    gradients = [
        torch.zeros_like(weight) if weight.grad is None else weight.grad
        for weight in router.parameters()
    ]
    return [*losses, *gradients, *state]


def of_batch(case: Case, scope: BalanceScope) -> list[Tensor]:
    return statistics(case, scope, tokens(), MASK)


def of_group(case: Case, group: int) -> list[Tensor]:
    x, mask = tokens()[group : group + 1], MASK[group : group + 1]
    return statistics(case, "global", x, mask, group, GROUPS)


def assert_close(first: list[Tensor], second: list[Tensor]) -> None:
    assert len(first) == len(second) > 0 and any(bool(value.any()) for value in first)
    for one, two in zip(first, second, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sequence_is_the_mean_of_groups_taken_alone(case: Case) -> None:
    alone = [of_group(case, group) for group in range(GROUPS) if MASK[group].any()]
    assert len(alone) == GROUPS - 1
    means = [torch.stack(values).mean(dim=0) for values in zip(*alone, strict=True)]
    assert_close(of_batch(case, "sequence"), means)


@pytest.mark.parametrize("case", POOLED, ids=str)
def test_global_is_that_of_one_group_of_all_tokens(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # noise has the shape of the batch
    pooled = tokens()[MASK][None]
    every = torch.ones(pooled.shape[:2], dtype=torch.bool)
    whole = of_batch(case, "global")
    assert_close(whole, statistics(case, "global", pooled, every))
    assert_close(whole, statistics(case, "sequence", pooled, every))
    by_sequence = of_batch(case, "sequence")
    apart = [
        not torch.allclose(one, two, atol=1e-4, equal_nan=True)
        for one, two in zip(whole, by_sequence, strict=True)
    ]
    assert any(apart)  # so that there is something to tell


@pytest.mark.parametrize("case", CASES, ids=str)
def test_local_is_global_on_one_process(case: Case) -> None:
    for one, two in zip(of_batch(case, "local"), of_batch(case, "global"), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)


def test_no_router_with_a_loss_or_statistics_is_missing() -> None:
    names = {name for name, _ in CASES}
    assert names | WITHOUT == set(router_names()) and not names & WITHOUT
    for name in WITHOUT:
        router = build_router(name, LayerSpec(DIM, EXPERTS, tokens=TOKENS), {}).train()
        assert not list(router.buffers()) and not router(tokens(), MASK).losses
