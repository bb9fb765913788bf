"""Routing health, from routings alone: counts of batches add up, shares follow from their sum.

Definitions:
    load      pairs that an expert processed (soft routing: the combine mass that it received)
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
from torch import Tensor

from moesuite.records.record import LayerHealth, RoutingHealth
from moesuite.routing.forms import Routing, SlotRouting, SoftRouting

DEAD_BELOW = 0.01


@dataclass(frozen=True)
class Counts:
    """Sums over the groups of one or more batches of one layer."""

    load: Tensor  # [E]
    demand: Tensor  # [E]
    unserved: Tensor  # scalar
    tokens: Tensor  # scalar, without padding

    def __add__(self, other: Counts) -> Counts:
        return self.map(lambda name, value: value + getattr(other, name))

    def map(self, change: Callable[[str, Tensor], Tensor]) -> Counts:
        """Return the counts after `change(name, value)` of each."""
        return Counts(**{name: change(name, value) for name, value in vars(self).items()})


def count(routing: Routing, mask: Tensor | None = None) -> Counts:
    """Count one routing; `mask` [G, T] is True for real tokens."""
    per_token = routing.experts_per_token()
    real = torch.ones_like(per_token, dtype=torch.bool) if mask is None else mask
    load, demand = routing.load().sum(dim=0), routing.demand().sum(dim=0)
    return Counts(load, demand, ((per_token == 0) & real).sum(), real.sum())


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
    tokens = max(1, int(counts.tokens))
    return RoutingHealth(
        load=[round(value, 6) for value in share.tolist()],
        unserved=int(counts.unserved) / tokens,
        dead=int((share < DEAD_BELOW * uniform).sum()),
        entropy=entropy,
        pairs_per_token=float(load.sum()) / tokens,
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


def weight_sums(routing: Routing) -> Float[Tensor, "G T"]:
    """Return the sum of each token's combine weights; 0 where no expert serves it."""
    if isinstance(routing, SoftRouting):
        return routing.combine.sum(dim=(2, 3))
    if isinstance(routing, SlotRouting):
        index = routing.tokens.clamp(min=0).flatten(1)  # the weight of an empty slot is 0
        sums = routing.weights.new_zeros(len(index), routing.num_tokens)
        return sums.scatter_add(1, index, routing.weights.flatten(1))
    sums = routing.weights.new_zeros(routing.num_groups * routing.num_tokens)
    return sums.index_add(0, routing.tokens, routing.weights).unflatten(
        0, (routing.num_groups, routing.num_tokens)
    )
