"""Dispatchers: one for each form of routing, all equal to `reference`.

soft: two batched matmuls with the real-valued tensors. aligned: every expert on every token. slots:
one gather, one batched matmul per weight of the MLP, one scatter-add. ragged: pairs sorted by
expert, experts of similar load side by side (`moesuite.nn.grouped_linear`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from moesuite.nn.dispatcher import Dispatcher, Work
from moesuite.nn.experts import AnyExperts
from moesuite.nn.grouped_linear import layout
from moesuite.routing.forms import (
    EMPTY,
    AlignedRouting,
    RaggedRouting,
    Routing,
    SlotRouting,
    SoftRouting,
)


class SoftDispatcher(Dispatcher):
    """Two batched matmuls with the dispatch and combine tensors."""

    name = "soft"
    form = SoftRouting
    moves_by_matmul = True

    def forward(self, x: Tensor, routing: SoftRouting, experts: AnyExperts) -> Tensor:
        """Mix tokens into slots, apply experts, mix their outputs into tokens."""
        groups, _, num_experts, capacity = routing.dispatch.shape
        dispatch, combine = routing.dispatch.flatten(2).to(x), routing.combine.flatten(2).to(x)
        slots = dispatch.transpose(1, 2) @ x  # [G, E·C, D]
        by_expert = slots.unflatten(1, (num_experts, capacity)).transpose(0, 1)  # [E, G, C, D]
        outputs = experts(by_expert.flatten(1, 2)).unflatten(1, (groups, capacity))
        return combine @ outputs.transpose(0, 1).flatten(1, 2)

    def work(self, routing: SoftRouting) -> Work:
        """Count the slots: all of them carry a mixture of tokens."""
        groups, length, num_experts, capacity = routing.dispatch.shape
        slots = groups * num_experts * capacity
        return Work(slots, slots, slots, groups * length, num_experts * capacity)

    def moving_flops(self, routing: SoftRouting, dim: int, training: bool) -> int:
        """Return the FLOPs of two products with [T, E·C] tensors; constants need no gradient."""
        product = 2 * routing.dispatch.numel() * dim
        if not training:
            return 2 * product
        return sum(
            (2 + weights.requires_grad) * product for weights in (routing.dispatch, routing.combine)
        )


class SlotDispatcher(Dispatcher):
    """One gather, one batched matmul per weight of the MLP, one scatter-add."""

    name = "slots"
    form = SlotRouting

    def forward(self, x: Tensor, routing: SlotRouting, experts: AnyExperts) -> Tensor:
        """Run the slots of each expert over all groups as one batch."""
        groups, num_experts, _ = routing.tokens.shape
        offset = torch.arange(groups, device=routing.tokens.device)[:, None, None] * x.shape[1]
        rows = (routing.tokens.clamp(min=0) + offset).transpose(0, 1).flatten()  # [E·G·C]
        weights = routing.weights.transpose(0, 1).flatten()

        def run(slots: Tensor) -> Tensor:
            return experts(slots.unflatten(0, (num_experts, -1))).flatten(0, 1)

        return _gather_scatter(x, rows, weights, run)

    def work(self, routing: SlotRouting) -> Work:
        """Count the slots; empty ones are computed too."""
        filled, slots = int((routing.tokens != EMPTY).sum()), routing.tokens.numel()
        groups = len(routing.tokens)
        return Work(slots, filled, slots, groups * routing.num_tokens, slots // max(1, groups))


class AlignedDispatcher(SlotDispatcher):
    """Every expert on every token, in the order of the tokens: nothing to gather or scatter."""

    name = "aligned"
    form = AlignedRouting

    def forward(self, x: Tensor, routing: SlotRouting, experts: AnyExperts) -> Tensor:
        """Run all experts on all tokens and add up their weighted outputs."""
        tokens = x.flatten(0, 1)
        outputs = experts(tokens.expand(experts.num_experts, *tokens.shape))  # [E, G·T, D]
        weights = routing.weights.transpose(0, 1).flatten(1).to(x)
        return (outputs * weights[..., None]).sum(dim=0).reshape(x.shape)


class RaggedDispatcher(Dispatcher):
    """Pairs sorted by expert, two experts of similar load in one batched matmul."""

    name = "ragged"
    form = RaggedRouting

    def forward(self, x: Tensor, routing: RaggedRouting, experts: AnyExperts) -> Tensor:
        """Sort pairs by expert and run each expert on its rows."""
        counts = torch.bincount(routing.experts, minlength=routing.num_experts)
        order = routing.experts.argsort(stable=True)
        where = layout(counts.tolist())
        # rank among its expert's pairs, beyond the expert's first row
        shift = torch.tensor(where.begins, device=counts.device) - (counts.cumsum(0) - counts)
        place = torch.arange(len(order), device=counts.device) + shift[routing.experts[order]]
        order, place, weights = order.to(x.device), place.to(x.device), routing.weights.to(x)
        rows = order.new_zeros(where.rows).index_copy(0, place, routing.tokens.to(x.device)[order])
        weights = weights.new_zeros(where.rows).index_copy(0, place, weights[order])
        return _gather_scatter(x, rows, weights, lambda slots: experts.ragged(slots, where))

    def work(self, routing: RaggedRouting) -> Work:
        """Count the pairs, and the rows that pad an expert to the height of its partner."""
        pairs = len(routing.tokens)
        counts = torch.bincount(routing.experts, minlength=routing.num_experts).tolist()
        tokens = routing.num_groups * routing.num_tokens
        fullest = int(routing.load().sum(dim=1).max())
        return Work(pairs, pairs, layout(counts).rows, tokens, fullest)


# the first that supports a routing runs it
DISPATCHERS: tuple[Dispatcher, ...] = (
    SoftDispatcher(),
    AlignedDispatcher(),
    SlotDispatcher(),
    RaggedDispatcher(),
)


def dispatchers(
    routing: Routing, experts: AnyExperts, device: torch.device
) -> tuple[Dispatcher, ...]:
    """Return the dispatchers that can run a routing on `device`, the default first."""
    return tuple(
        dispatcher for dispatcher in DISPATCHERS if dispatcher.supports(routing, experts, device)
    )


def default_dispatcher(routing: Routing, experts: AnyExperts, device: torch.device) -> Dispatcher:
    """Return the dispatcher that runs a routing on `device` unless a layer names another."""
    for dispatcher in DISPATCHERS:
        if dispatcher.supports(routing, experts, device):
            return dispatcher
    raise TypeError(f"no dispatcher takes a {type(routing).__name__} on {device}")


def apply_experts(
    x: Float[Tensor, "G T D"], routing: Routing, experts: AnyExperts
) -> Float[Tensor, "G T D"]:
    """Return Σ_e C_e f_e(D_eᵀ x) by the default dispatcher; tokens without an expert get 0."""
    return default_dispatcher(routing, experts, x.device).forward(x, routing, experts)


def reference(
    x: Float[Tensor, "G T D"], routing: Routing, experts: AnyExperts
) -> Float[Tensor, "G T D"]:
    """Return the same from the dense tensors, as papers write it: slow, the oracle of the tests."""
    dispatch, combine = (tensor.to(x.dtype) for tensor in routing.dense())
    slots = torch.einsum("gtec,gtd->egcd", dispatch, x)
    outputs = experts(slots.flatten(1, 2)).unflatten(1, slots.shape[1:3])
    return torch.einsum("gtec,egcd->gtd", combine, outputs)


def _gather_scatter(
    x: Tensor, rows: Tensor, weights: Tensor, run: Callable[[Tensor], Tensor]
) -> Tensor:
    """Run experts on the tokens `rows` [N] of all groups, and add up their weighted outputs.

    A row that no pair fills reads the first token: its weight of 0 keeps that out of outputs and
    gradients.
    """
    tokens, rows = x.flatten(0, 1), rows.to(x.device)
    outputs = run(tokens.index_select(0, rows)) * weights.to(x)[:, None]
    return torch.zeros_like(tokens).index_add(0, rows, outputs).reshape(x.shape)
