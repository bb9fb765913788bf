"""Three ways to move tokens to experts and back, one for each form of routing; all equal `reference`.

soft: two batched matmuls with the real-valued tensors. slots: one gather, one batched matmul per weight of the MLP,
one scatter-add. ragged: pairs sorted by expert, one matmul per expert over exactly its tokens.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from moesuite.experts import Experts
from moesuite.grouped import layout
from moesuite.routing import RaggedRouting, Routing, SlotRouting, SoftRouting


def apply_experts(x: Float[Tensor, "G T D"], routing: Routing, experts: Experts) -> Float[Tensor, "G T D"]:
    """Return Σ_e C_e f_e(D_eᵀ x) by the fastest path for the form of `routing`; tokens without an expert get 0."""
    match routing:
        case SoftRouting():
            return _soft(x, routing, experts)
        case SlotRouting():
            return _slots(x, routing, experts)
        case RaggedRouting():
            return _ragged(x, routing, experts)


def reference(x: Float[Tensor, "G T D"], routing: Routing, experts: Experts) -> Float[Tensor, "G T D"]:
    """The same from the dense tensors, as the papers write it: slow, readable, the oracle of the tests."""
    dispatch, combine = (tensor.to(x.dtype) for tensor in routing.dense())
    slots = torch.einsum("gtec,gtd->egcd", dispatch, x)
    outputs = experts(slots.flatten(1, 2)).unflatten(1, slots.shape[1:3])
    return torch.einsum("gtec,egcd->gtd", combine, outputs)


def _soft(x: Tensor, routing: SoftRouting, experts: Experts) -> Tensor:
    groups, _, num_experts, capacity = routing.dispatch.shape
    dispatch, combine = routing.dispatch.flatten(2).to(x.dtype), routing.combine.flatten(2).to(x.dtype)
    slots = dispatch.transpose(1, 2) @ x  # [G, E·C, D]
    by_expert = slots.unflatten(1, (num_experts, capacity)).transpose(0, 1)  # [E, G, C, D]
    outputs = experts(by_expert.flatten(1, 2)).unflatten(1, (groups, capacity))
    return combine @ outputs.transpose(0, 1).flatten(1, 2)


def _slots(x: Tensor, routing: SlotRouting, experts: Experts) -> Tensor:
    groups, length, dim = x.shape
    num_experts = routing.tokens.shape[1]
    offset = torch.arange(groups, device=x.device)[:, None, None] * length
    # an empty slot reads its group's first token: its weight of 0 keeps that out of outputs and gradients
    rows = (routing.tokens.clamp(min=0) + offset).transpose(0, 1).flatten()  # [E·G·C]
    weights = routing.weights.transpose(0, 1).flatten().to(x.dtype)
    tokens = x.flatten(0, 1)
    outputs = experts(tokens.index_select(0, rows).unflatten(0, (num_experts, -1))).flatten(0, 1)
    return torch.zeros_like(tokens).index_add(0, rows, outputs * weights[:, None]).reshape(groups, length, dim)


def _ragged(x: Tensor, routing: RaggedRouting, experts: Experts) -> Tensor:
    counts = torch.bincount(routing.experts, minlength=routing.num_experts)
    order = routing.experts.argsort(stable=True)
    where = layout(counts.tolist())
    # rank among its expert's pairs, beyond the expert's first row
    shift = torch.tensor(where.begins, device=x.device) - (counts.cumsum(0) - counts)
    place = torch.arange(len(order), device=x.device) + shift[routing.experts[order]]  # [M]
    # a row that no pair fills reads the first token: its weight of 0 keeps that out of outputs and gradients
    rows = routing.tokens.new_zeros(where.rows).index_copy(0, place, routing.tokens[order])
    weights = x.new_zeros(where.rows).index_copy(0, place, routing.weights[order].to(x.dtype))
    tokens = x.flatten(0, 1)
    outputs = experts.ragged(tokens.index_select(0, rows), where)
    return torch.zeros_like(tokens).index_add(0, rows, outputs * weights[:, None]).reshape(x.shape)
