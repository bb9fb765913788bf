"""Routing health, from routings alone: counts of batches add up, shares follow from their sum.

All figures but `null` are of experts that compute: null experts (`moesuite.nn.beside.null_experts`)
have no load, no demand, are never dead, and a token that chose no others is unserved.

Definitions:
    load      pairs that an expert processed (soft routing: the combine mass that it received)
    null      pairs that null experts got, as a share of theirs and of the load
    unserved  real tokens that no expert processed
    refused   share of the pairs that the router requested and the capacity refused
    dead      experts with less than 1 % of the uniform load over everything counted
    entropy   of the load over experts, divided by ln E: 1 is uniform, 0 is a single expert
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.nn.moe import MoE, moe_layers
from moesuite.records.record import LayerHealth, RoutingHealth
from moesuite.routing.forms import Routing, SoftRouting

DEAD_BELOW = 0.01


@dataclass(frozen=True)
class Counts:
    """Sums over the groups of one or more batches of one layer."""

    load: Tensor  # [E]
    demand: Tensor  # [E]
    unserved: Tensor  # scalar
    tokens: Tensor  # scalar, without padding
    null: Tensor  # scalar, pairs of null experts

    def __add__(self, other: Counts) -> Counts:
        return self.map(lambda name, value: value + getattr(other, name))

    def map(self, change: Callable[[str, Tensor], Tensor]) -> Counts:
        """Return the counts after `change(name, value)` of each."""
        return Counts(**{name: change(name, value) for name, value in vars(self).items()})


def count(routing: Routing, mask: Tensor | None = None, num_experts: int | None = None) -> Counts:
    """Count one routing.

    Args:
        routing: of one forward.
        mask: [G, T], True for real tokens; None: all are.
        num_experts: experts that compute; those after them are null experts. None: all do.
    """
    executed = routing if num_experts is None else routing.first(num_experts)
    per_token = executed.experts_per_token()
    real = torch.ones_like(per_token, dtype=torch.bool) if mask is None else mask
    load, demand = executed.load().sum(dim=0), executed.demand().sum(dim=0)
    null = load.new_zeros(()) if executed is routing else routing.load().sum() - load.sum()
    return Counts(load, demand, ((per_token == 0) & real).sum(), real.sum(), null)


def count_layer(layer: MoE) -> Counts:
    """Count the last routing of a layer."""
    assert layer.routing is not None
    return count(
        layer.routing, layer.mask, None if layer.null is None else layer.experts.num_experts
    )


def is_finite(routing: Routing) -> bool:
    """Return whether every weight of a routing is finite; it is not if logits are not."""
    weights = (
        (routing.dispatch, routing.combine)
        if isinstance(routing, SoftRouting)
        else (routing.weights,)
    )
    return all(bool(torch.isfinite(tensor).all()) for tensor in weights)


def health(counts: Counts) -> RoutingHealth:
    """Compute shares from sums: one line for each figure that the record declares."""
    load = counts.load.double().cpu()
    total = load.sum().clamp(min=1e-12)
    share = load / total
    uniform = 1 / len(share)
    entropy = (
        1.0
        if len(share) == 1
        else float(-(share * share.clamp(min=1e-12).log()).sum() / torch.tensor(len(share)).log())
    )
    tokens, null = max(1, int(counts.tokens)), float(counts.null)
    return RoutingHealth(
        load=[round(value, 6) for value in share.tolist()],
        unserved=int(counts.unserved) / tokens,
        dead=int((share < DEAD_BELOW * uniform).sum()),
        entropy=entropy,
        pairs_per_token=float(load.sum()) / tokens,
        null_share=null / max(1e-12, null + float(load.sum())),
    )


def refused(counts: Counts) -> float:
    """Return the share of the requested pairs that the capacity refused, in [0, 1]."""
    demand = counts.demand.double().sum().item()
    return 1 - float(counts.load.double().sum()) / demand if demand > 0 else 0.0


def layer_health(name: str, ranked: Counts, under_capacity: Counts | None) -> LayerHealth:
    """Return the routing health of one layer.

    Args:
        name: of the layer.
        ranked: counts of the evaluation that ranks, without a capacity limit.
        under_capacity: counts of the evaluation under the training capacity, or None.
    """
    limited = under_capacity
    return LayerHealth(
        layer=name,
        **dict(health(ranked)),
        dropped_under_capacity=None if limited is None else health(limited).unserved,
        refused_under_capacity=None if limited is None else refused(limited),
    )


@dataclass(frozen=True)
class RoutingWeights:
    """Output of a model whose routing is its representation: [G, T, layers · E]."""

    last_hidden_state: Tensor


def routing_weights(model: nn.Module) -> Tensor:
    """Return each token's weight of each expert in the last forward: [G, T, layers · E].

    Raises:
        UserError: for a model without MoE layers.
    """
    weights = [
        layer.routing.token_weights() for _, layer in moe_layers(model) if layer.routing is not None
    ]
    if not weights:
        raise UserError(
            "routing weights of a model without MoE layers; expected any router but dense"
        )
    return torch.cat(weights, dim=-1)


def masses(model: nn.Module) -> dict[str, Float[Tensor, "L G T E"]]:
    """Return what the experts of each of L MoE layers did with the tokens of the last forward.

    `dispatched`: what an expert reads of a token, summed over its slots: 1 or 0, or a share of a
    slot. `combined`: its weight in the token's output.
    """
    both = [
        layer.executed(layer.routing).dense()
        for _, layer in moe_layers(model)
        if layer.routing is not None
    ]
    return {
        name: torch.stack([tensors[place].sum(dim=-1) for tensors in both])
        for place, name in enumerate(("dispatched", "combined"))
    }
