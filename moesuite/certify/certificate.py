"""The certificate of a router: its behaviour, measured on a small layer, never what it claims.

Every check compares outputs of a whole MoE layer with large router weights ("sharp", so that
choices are clear) after a few training steps; figures are the largest difference relative to the
largest output. `moesuite.certify.properties` defines what each check means and who claims it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch

from moesuite.certify.causality import USUAL, causal
from moesuite.certify.harness import Subject, dense_output, difference, output, seeded
from moesuite.certify.isolation import TOLERANCE, batch_independent, equivariant, padding_invariant
from moesuite.certify.objectives import (
    auxiliary_losses,
    gradient,
    gradient_auxiliary,
    gradient_task,
)
from moesuite.certify.observations import (
    capacity_enforced,
    drops_as_claimed,
    input_unchanged,
    weights_finite,
    weights_not_negative,
)
from moesuite.certify.properties import PROPERTIES, Property
from moesuite.certify.repeatability import deterministic
from moesuite.certify.repeatability import is_random as is_random
from moesuite.discovery.names import router_names
from moesuite.nn.stats import count, health
from moesuite.records.certificate import Check
from moesuite.routers import build_router
from moesuite.routing.router import LayerSpec, Router


def single_expert_is_dense(subject: Subject) -> Check:
    """With E = 1 and a slot per token, the layer is the dense MLP."""
    layer, x = subject.layer(num_experts=1, slots_per_token=1.0, sharp=0.0), subject.inputs()
    figure = difference(output(layer, x), dense_output(layer, x))
    return Check(holds=figure < TOLERANCE, figure=figure)


def upcycled_is_dense(subject: Subject) -> Check:
    """Experts that are copies of an MLP give its output wherever combine weights sum to 1."""
    layer, x = subject.layer(sharp=0.0).eval(), subject.inputs()
    ours, dense = output(layer, x), dense_output(layer, x)
    layer(x)
    assert layer.routing is not None
    sums = layer.routing.dense()[1].detach().sum(dim=(2, 3))
    whole = (sums - 1).abs() < TOLERANCE
    largest = difference(ours, dense)
    detail = (
        f"combine weights sum to {sums.mean():.2f} on average; "
        f"largest difference {largest:.2g} of the largest output"
    )
    holds = difference(ours[whole], dense[whole]) < TOLERANCE if whole.any() else None
    return Check(holds=holds, figure=largest, detail=detail)


CHECKS: tuple[Callable[[Subject], Check], ...] = (
    deterministic,
    input_unchanged,
    batch_independent,
    padding_invariant,
    equivariant,
    causal,
    gradient,
    gradient_task,
    gradient_auxiliary,
    capacity_enforced,
    drops_as_claimed,
    weights_finite,
    weights_not_negative,
    auxiliary_losses,
    single_expert_is_dense,
    upcycled_is_dense,
)


def measure(prop: Property, subject: Subject) -> Check:
    """Measure one property of `PROPERTIES`."""
    return dict(zip((p.name for p in PROPERTIES), CHECKS, strict=True))[prop.name](subject)


def at_start(subject: Subject) -> dict[str, float]:
    """Return an untrained router's shares of dropped tokens and of dead experts.

    In training mode, under the training capacity, on 16 groups of 196 tokens; the second forward
    counts, so that running statistics have started.
    """
    larger = replace(subject, groups=16, tokens=196, dim=64)
    layer = larger.layer(sharp=0.0).train()
    with torch.no_grad(), seeded(0, subject.device):
        layer(larger.inputs(seed=2))
        layer(larger.inputs())
    assert layer.routing is not None
    start = health(count(layer.routing))
    return {"dropped_under_capacity": start.unserved, "dead": start.dead / larger.num_experts}


@cache
def causal_routers() -> list[str]:
    """Return the package's routers that are measured as causal with default options."""
    return [
        name
        for name in router_names()
        if causal(Subject(partial(build_with, name)), (USUAL,)).holds
    ]


def build_with(name: str, spec: LayerSpec, /, **options: Any) -> Router:
    """Build a router by name, its options as keyword arguments."""
    return build_router(name, spec, options)
