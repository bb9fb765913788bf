"""Observations of a router over modes, budgets and kinds of tokens, read by five checks.

The allowed work follows from the `LayerSpec` that the subject requests, never from the router's
copy of it or from the capacity that the router reports.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from moesuite.certify.harness import KINDS, Subject, seeded
from moesuite.nn.moe import MoE
from moesuite.records.certificate import Check
from moesuite.routing.capacity import expert_capacity
from moesuite.routing.forms import Routing, SoftRouting
from moesuite.routing.router import LayerSpec, Router
from moesuite.routing.validation import check_form, check_values, name_of

LONG = 128  # tokens of the longer groups
BUDGETS = (0.5, 1.0, 1.7)  # times the subject's


@dataclass(frozen=True)
class Observation:
    """One forward of a router.

    Attributes:
        where: mode, budget and tokens, for messages.
        excess: rows of expert work divided by those allowed; 0 without a limit.
        padded_excess: the same for rows that carry a token, with half of the tokens padding.
        refused: share of the requested pairs that were refused.
        limited: whether there is a limit.
        finite, negative: of combine weights (and losses, gradients).
        changed: whether tokens or mask were changed in place.
    """

    where: str
    excess: float
    padded_excess: float
    refused: float
    limited: bool
    finite: bool
    negative: bool
    changed: bool


@dataclass(frozen=True)
class Mode:
    """How a layer is called; `label` for messages."""

    label: str
    training: bool = False
    limited: bool = False
    eval_budget: float | None = None  # times the subject's


MODES = (
    Mode("in training", training=True),
    Mode("in evaluation"),
    Mode("in evaluation under eval_slots_per_token", eval_budget=0.6),
    Mode("in evaluation under the training capacity", limited=True),
)


def budget_in_force(spec: LayerSpec, router: Router, mode: Mode) -> float | None:
    """Return the slots per token that `spec` allows in a mode, or None without a limit.

    If slots are parameters, evaluation has those of training.
    """
    if mode.training or router.sized or (router.drops and mode.limited):
        return spec.slots_per_token
    if spec.eval_slots_per_token is None and not router.drops:
        return spec.slots_per_token
    return spec.eval_slots_per_token


def allowed_rows(spec: LayerSpec, budget: float | None, tokens: int) -> float:
    """Return the rows that experts may compute for a group of `tokens`: E·C, or infinity."""
    if budget is None:
        return math.inf
    return float(spec.num_experts * expert_capacity(budget, tokens, spec.num_experts))


@lru_cache(maxsize=2)
def tour(subject: Subject) -> tuple[Observation, ...]:
    """Return the observations of a router, made once for all checks."""
    return tuple(_observations(subject))


def _observations(subject: Subject) -> Iterator[Observation]:
    modes = [mode for mode in MODES if mode.eval_budget is None or subject.takes_evaluation_slots()]
    for mode in modes:
        for factor in BUDGETS:
            budget = min(factor * subject.slots_per_token, subject.num_experts)
            under = None if mode.eval_budget is None else mode.eval_budget * budget
            for tokens in _lengths(subject, mode) if factor == 1.0 else (subject.tokens,):
                spec = subject.spec(None, budget, under, tokens)
                layer = subject.layer(
                    slots_per_token=budget, eval_slots_per_token=under, tokens=tokens
                )
                every = factor == 1.0 and tokens == subject.tokens
                few = ("Gaussian", "alike")[:tokens]  # a single token is always alike
                for kind in KINDS if every else few:
                    yield _observe(subject, spec, layer, mode, kind)


def _lengths(subject: Subject, mode: Mode) -> tuple[int, ...]:
    single = mode.eval_budget is None and not mode.limited
    return (subject.tokens, LONG, 1) if single else (subject.tokens, LONG)


def _observe(subject: Subject, spec: LayerSpec, layer: MoE, mode: Mode, kind: str) -> Observation:
    x = subject.inputs(tokens=spec.tokens, kind=kind)
    router = layer.train(mode.training).router
    router.limited = mode.limited and router.drops
    mask = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2]) < x.shape[1] // 2
    tokens, padding = x.clone(), mask.clone()
    with torch.no_grad(), seeded(1, subject.device):
        routing, padded = router(tokens), router(x.clone(), padding)
    for decision in (routing, padded):
        check_form(decision, x.shape, subject.num_experts, name_of(router))
        check_values(decision, name_of(router))
    budget = budget_in_force(spec, router, mode)
    allowed = allowed_rows(spec, budget, x.shape[1])
    demand = float(routing.demand().sum())
    limit = "no limit" if budget is None else f"{budget:g} slots per token"
    return Observation(
        where=f"{mode.label} ({limit}, groups of {x.shape[1]}, {kind} tokens)",
        excess=layer.work(routing, x.device).fullest_group / allowed,
        padded_excess=_carrying(padded) / allowed_rows(spec, budget, x.shape[1] // 2),
        refused=1 - float(routing.load().sum()) / demand if demand else 0.0,
        limited=allowed < math.inf,
        finite=_is_finite(routing) and _is_finite(padded),
        negative=_is_negative(routing),
        changed=not torch.equal(tokens, x) or not torch.equal(padding, mask),
    )


def _carrying(routing: Routing) -> float:
    """Return the largest number of rows in a group that carry a token.

    0 for soft routing, whose slots do not depend on padding.
    """
    return 0.0 if isinstance(routing, SoftRouting) else float(routing.load().sum(dim=1).max())


def _weights(routing: Routing) -> list[Tensor]:
    if isinstance(routing, SoftRouting):
        return [routing.dispatch, routing.combine]
    return [routing.weights]


def _is_finite(routing: Routing) -> bool:
    tensors = (*_weights(routing), *routing.losses.values())
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _is_negative(routing: Routing) -> bool:
    return any(bool((tensor < 0).any()) for tensor in _weights(routing))


def capacity_enforced(subject: Subject) -> Check:
    """Expert work never exceeds the budget of the spec: E·C rows per group."""
    worst = max(tour(subject), key=lambda seen: seen.excess)
    padded = max(tour(subject), key=lambda seen: seen.padded_excess)
    if worst.excess > 1:
        detail = f"{worst.excess:.2f} of the budget {worst.where}"
    elif padded.padded_excess > 1:
        detail = (
            f"padding buys slots: {padded.padded_excess:.2f} of the budget of real tokens "
            f"{padded.where}"
        )
    else:
        detail = ""
    router = subject.layer().router
    if router.sized and not detail:
        detail = "its slots are parameters: eval_slots_per_token does not apply"
    figure = max(worst.excess, padded.padded_excess)
    return Check(holds=figure <= 1, claimed=router.bounded, figure=figure, detail=detail)


def drops_as_claimed(subject: Subject) -> Check:
    """Pairs are refused only by a router that declares `drops`, and only under a limit."""
    drops = subject.layer().router.drops
    wrong = [seen for seen in tour(subject) if seen.refused > 0 and not (drops and seen.limited)]
    if not wrong:
        return Check(holds=True, claimed=True)
    worst = max(wrong, key=lambda seen: seen.refused)
    detail = f"refuses {worst.refused:.0%} of the pairs asked for {worst.where}"
    return Check(holds=False, claimed=True, figure=worst.refused, detail=detail)


def weights_finite(subject: Subject) -> Check:
    """Combine weights and losses are finite for every kind of tokens, huge and zero included."""
    wrong = [seen.where for seen in tour(subject) if not seen.finite]
    return Check(
        holds=not wrong, claimed=True, detail=f"NaN or infinity {wrong[0]}" if wrong else ""
    )


def weights_not_negative(subject: Subject) -> Check:
    """No combine weight is negative, unless the router declares `negative_weights`."""
    claimed = not subject.layer().router.negative_weights
    wrong = [seen.where for seen in tour(subject) if seen.negative]
    return Check(
        holds=not wrong, claimed=claimed, detail=f"weights below 0 {wrong[0]}" if wrong else ""
    )


def input_unchanged(subject: Subject) -> Check:
    """A forward does not change tokens or padding mask, which experts read too."""
    wrong = [seen.where for seen in tour(subject) if seen.changed]
    return Check(
        holds=not wrong,
        claimed=True,
        detail=f"changes its tokens in place {wrong[0]}" if wrong else "",
    )
