"""Three ways to move tokens to experts and back, one for each form of routing; all equal `reference`.

soft: two batched matmuls with the real-valued tensors. slots: one gather, one batched matmul per
weight of the MLP, one scatter-add. ragged: pairs sorted by expert, experts of similar load side by
side (`moesuite.nn.grouped_linear`). A routing may be on another device than the tokens: accounting
runs real decisions on meta tensors.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from moesuite.nn.experts import Experts, FusedExperts
from moesuite.nn.grouped_linear import layout
from moesuite.routing.forms import RaggedRouting, Routing, SlotRouting, SoftRouting

AnyExperts = Experts | FusedExperts


def apply_experts(
    x: Float[Tensor, "G T D"], routing: Routing, experts: AnyExperts
) -> Float[Tensor, "G T D"]:
    """Return Σ_e C_e f_e(D_eᵀ x) by the fastest path for the form of `routing`; tokens without an expert get 0."""
    match routing:
        case SoftRouting():
            return _soft(x, routing, experts)
        case SlotRouting():
            return _slots(x, routing, experts)
        case RaggedRouting():
            return _ragged(x, routing, experts)


def reference(
    x: Float[Tensor, "G T D"], routing: Routing, experts: AnyExperts
) -> Float[Tensor, "G T D"]:
    """The same from the dense tensors, as the papers write it: slow, readable, the oracle of the tests."""
    dispatch, combine = (tensor.to(x.dtype) for tensor in routing.dense())
    slots = torch.einsum("gtec,gtd->egcd", dispatch, x)
    outputs = experts(slots.flatten(1, 2)).unflatten(1, slots.shape[1:3])
    return torch.einsum("gtec,egcd->gtd", combine, outputs)


def _soft(x: Tensor, routing: SoftRouting, experts: AnyExperts) -> Tensor:
    groups, _, num_experts, capacity = routing.dispatch.shape
    dispatch, combine = routing.dispatch.flatten(2).to(x), routing.combine.flatten(2).to(x)
    slots = dispatch.transpose(1, 2) @ x  # [G, E·C, D]
    by_expert = slots.unflatten(1, (num_experts, capacity)).transpose(0, 1)  # [E, G, C, D]
    outputs = experts(by_expert.flatten(1, 2)).unflatten(1, (groups, capacity))
    return combine @ outputs.transpose(0, 1).flatten(1, 2)


def _slots(x: Tensor, routing: SlotRouting, experts: AnyExperts) -> Tensor:
    groups, num_experts, _ = routing.tokens.shape
    offset = torch.arange(groups, device=routing.tokens.device)[:, None, None] * x.shape[1]
    rows = (routing.tokens.clamp(min=0) + offset).transpose(0, 1).flatten()  # [E·G·C]
    weights = routing.weights.transpose(0, 1).flatten()
    return _move(
        x, rows, weights, lambda slots: experts(slots.unflatten(0, (num_experts, -1))).flatten(0, 1)
    )


def _ragged(x: Tensor, routing: RaggedRouting, experts: AnyExperts) -> Tensor:
    counts = torch.bincount(routing.experts, minlength=routing.num_experts)
    order = routing.experts.argsort(stable=True)
    where = layout(counts.tolist())
    # rank among its expert's pairs, beyond the expert's first row
    shift = torch.tensor(where.begins, device=counts.device) - (counts.cumsum(0) - counts)
    place = torch.arange(len(order), device=counts.device) + shift[routing.experts[order]]  # [M]
    order, place, weights = order.to(x.device), place.to(x.device), routing.weights.to(x)
    rows = order.new_zeros(where.rows).index_copy(0, place, routing.tokens.to(x.device)[order])
    weights = weights.new_zeros(where.rows).index_copy(0, place, weights[order])
    return _move(x, rows, weights, lambda slots: experts.ragged(slots, where))


def _move(x: Tensor, rows: Tensor, weights: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """Run experts on the tokens `rows` [N] of all groups, and add up their weighted answers.

    A row that no pair fills reads the first token: its weight of 0 keeps that out of outputs and
    gradients.
    """
    tokens, rows = x.flatten(0, 1), rows.to(x.device)
    outputs = run(tokens.index_select(0, rows)) * weights.to(x)[:, None]
    return torch.zeros_like(tokens).index_add(0, rows, outputs).reshape(x.shape)
