"""The static form of a routing without a limit: shapes that do not depend on token values.

`torch.export`, ONNX and whole-graph compilers need it. Every expert computes every token, which
costs E times the dense MLP and gives what the dropless routing gives.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moesuite.errors import UserError
from moesuite.routing.assignment import tokens_take_in_order
from moesuite.routing.capacity import expert_capacity
from moesuite.routing.forms import EMPTY, AlignedRouting, RaggedRouting, SlotRouting


def aligned(
    weights: Float[Tensor, "G T E"],
    selected: Bool[Tensor, "G T E"],
    losses: Mapping[str, Tensor] | None = None,
) -> AlignedRouting:
    """Serve the selected pairs with their combine weights: slot t of an expert is for token t."""
    length = weights.shape[1]
    by_expert = selected.transpose(1, 2)
    tokens = torch.arange(length, device=weights.device).expand(by_expert.shape)
    return AlignedRouting(
        tokens.masked_fill(~by_expert, EMPTY),
        weights.transpose(1, 2).masked_fill(~by_expert, 0.0),
        length,
        losses or {},
    )


def static_pairs(
    weights: Float[Tensor, "G T E"],
    selected: Bool[Tensor, "G T E"],
    mask: Bool[Tensor, "G T"] | None,
    slots_per_token: float | None,
    losses: Mapping[str, Tensor] | None = None,
) -> SlotRouting:
    """Serve the selected pairs, up to the capacity of their expert if there is a limit.

    Earlier tokens come first, and padding buys no capacity.
    """
    if slots_per_token is None:
        return aligned(weights, selected, losses)
    _, length, num_experts = weights.shape
    capacity = expert_capacity(slots_per_token, length, num_experts)
    limits = None
    if mask is not None:
        limits = expert_capacity(slots_per_token, mask.sum(dim=1), num_experts)
    return tokens_take_in_order(weights, selected, capacity, limits)


def choice_matrix(
    gates: Float[Tensor, "G T K"], experts: Int[Tensor, "G T K"], num_experts: int
) -> tuple[Float[Tensor, "G T E"], Bool[Tensor, "G T E"]]:
    """Return the combine weight of each pair and whether it was chosen; choice E is none."""
    shape = (*experts.shape[:2], num_experts + 1)
    weights = gates.new_zeros(shape).scatter(-1, experts, gates)
    chosen = torch.zeros(shape, dtype=torch.bool, device=gates.device).scatter(-1, experts, True)
    return weights[..., :-1], chosen[..., :-1]


def check_static(routing: object, router: str) -> None:
    """Refuse a routing whose shape depends on token values, before it stops the tracing.

    Raises:
        UserError: for a `RaggedRouting`.
    """
    if isinstance(routing, RaggedRouting):
        raise UserError(
            f"router={router}: the number of its pairs depends on token values, which no exported "
            "graph can hold; type moesuite.for_export(model) first (a router of your own returns "
            "self.choose_pairs(weights, selected) or self.choose_experts(...))"
        )
