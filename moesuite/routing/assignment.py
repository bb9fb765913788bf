"""Assignment: pure functions from scores to routings. Ties go to the lower index everywhere.

`torch.topk` does not promise an order of ties, and a stable sort of all scores costs up to five
times as much, so `top` takes the top of integer keys that combine score and index.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from moesuite.routing.forms import EMPTY, RaggedRouting, SlotRouting


def top(
    scores: Float[Tensor, "*batch N"], k: int
) -> tuple[Float[Tensor, "*batch K"], Int[Tensor, "*batch K"]]:
    """Return the `k` largest scores of each row in descending order, and their indices.

    Ties go to the lower index.

    Args:
        scores: any numbers; gradient flows to the selected ones. NaN ranks first, so that it does
            not go unnoticed.
        k: 1 to N.
    """
    if k == 1:  # max is documented to return the first of equal maxima
        values, indices = scores.max(dim=-1, keepdim=True)
        return values, indices
    if torch.compiler.is_exporting():  # the bits of numbers have no form in ONNX
        values, indices = stable_sort(scores, descending=True)
        return values[..., :k], indices[..., :k]
    length = scores.shape[-1]
    numbers = scores.detach().float() + 0.0  # makes -0.0 equal to 0.0
    bits = numbers.view(torch.int32).masked_fill(numbers.isnan(), 0x7FFFFFFF)
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()  # ordered as the numbers are
    last = torch.arange(length - 1, -1, -1, device=scores.device)
    keys = (ordered * length + last).topk(k, dim=-1).values
    indices = length - 1 - keys % length
    return scores.gather(-1, indices), indices


def stable_sort(
    values: Shaped[Tensor, "*batch N"], descending: bool = False
) -> tuple[Shaped[Tensor, "*batch N"], Int[Tensor, "*batch N"]]:
    """Sort each row; return it and the indices. Equal values keep their order."""
    if not torch.compiler.is_exporting():
        ordered, indices = values.sort(dim=-1, descending=descending, stable=True)
        return ordered, indices
    # ONNX has no stable sort: any sort, and then equal values by their indices
    ordered, indices = values.sort(dim=-1, descending=descending)
    is_other = (ordered[..., 1:] != ordered[..., :-1]).long()
    ranks = torch.cat([torch.zeros_like(indices[..., :1]), is_other.cumsum(dim=-1)], dim=-1)
    keys = ranks * values.shape[-1] + indices
    return ordered, keys.sort(dim=-1).values % values.shape[-1]


def in_best_groups(
    scores: Float[Tensor, "*batch E"], groups: int, limit: int, best_of: int
) -> Bool[Tensor, "*batch E"]:
    """Return which experts are in the best groups of each row; ties go to the lower index.

    Args:
        scores: any numbers.
        groups: number of groups of neighbours; it divides E.
        limit: number of best groups, 1 to `groups`.
        best_of: a group's score is the sum of so many of its best scores.
    """
    of_groups = scores.unflatten(-1, (groups, -1))
    totals = top(of_groups, min(best_of, of_groups.shape[-1]))[0].sum(dim=-1)
    best = torch.zeros_like(totals, dtype=torch.bool).scatter(-1, top(totals, limit)[1], True)
    return best[..., None].expand(of_groups.shape).flatten(-2)


def experts_take(
    scores: Float[Tensor, "G E T"],
    capacity: int,
    limits: Int[Tensor, " G"] | None = None,
    mask: Bool[Tensor, "G T"] | None = None,
    losses: Mapping[str, Tensor] | None = None,
) -> SlotRouting:
    """Let each expert take its top-C tokens; slot = rank; the combine weight is the score.

    Args:
        scores: >= 0; tokens with a negative score are never taken.
        capacity: slots C of an expert, clipped to T.
        limits: slots that an expert may fill in each group, where padding makes them differ.
        mask: True for real tokens; padding is never taken.
        losses: auxiliary losses.
    """
    length = scores.shape[-1]
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], -1.0)  # padding ranks last
    weights, tokens = top(scores, min(capacity, length))  # [G, E, C]
    empty = weights.detach() < 0
    if limits is not None:
        empty = empty | (
            torch.arange(tokens.shape[-1], device=scores.device) >= limits[:, None, None]
        )
    return SlotRouting(
        tokens.masked_fill(empty, EMPTY), weights.masked_fill(empty, 0.0), length, losses or {}
    )


def tokens_take(
    gates: Float[Tensor, "G T K"],
    experts: Int[Tensor, "G T K"],
    num_experts: int,
    capacity: int,
    limits: Int[Tensor, " G"] | None = None,
    batch_priority: bool = False,
    losses: Mapping[str, Tensor] | None = None,
) -> SlotRouting:
    """Assign slots to all first choices, then to all second choices, and so on.

    Pairs beyond the capacity of their expert are refused.

    Args:
        gates: combine weights.
        experts: choices in [0, E); E means no choice.
        num_experts, capacity: E and C.
        limits: slots that an expert may fill in each group, where padding makes them differ.
        batch_priority: serve tokens by their top gate instead of by their order.
        losses: auxiliary losses.
    """
    groups, length, k = experts.shape
    priority = torch.arange(length, device=gates.device).expand(groups, length)
    if batch_priority:
        priority = stable_sort(gates[..., 0], descending=True)[1]
    pick = priority[..., None].expand(-1, -1, k)
    queue, queue_gates = (
        values.gather(1, pick).transpose(1, 2).flatten(1) for values in (experts, gates)
    )  # [G, K·T]
    # rank of each pair in the queue of its expert
    expert, order = stable_sort(queue)
    demand = queue.new_zeros(groups, num_experts + 1).scatter_add_(1, queue, torch.ones_like(queue))
    rank = torch.arange(k * length, device=gates.device) - (demand.cumsum(1) - demand).gather(
        1, expert
    )
    pairs = (rank, expert, priority.repeat(1, k).gather(1, order), queue_gates.gather(1, order))
    taken, weights = _fill(*pairs, num_experts, capacity, limits)
    return SlotRouting(taken, weights, length, losses or {}, demand[:, :-1].float())


def tokens_take_in_order(
    gates: Float[Tensor, "G T E"],
    wanted: Bool[Tensor, "G T E"],
    capacity: int,
    limits: Int[Tensor, " G"] | None = None,
) -> SlotRouting:
    """Assign each expert's slots to the tokens that request them, earlier tokens first.

    No assignment depends on a later token.

    Args:
        gates: combine weights.
        wanted: which pairs request a slot.
        capacity: slots C of an expert.
        limits: slots that an expert may fill in each group, where padding makes them differ.
    """
    groups, length, num_experts = gates.shape
    asks = wanted.transpose(1, 2)  # [G, E, T]
    rank = (asks.cumsum(dim=2) - 1).flatten(1)
    expert = torch.arange(num_experts, device=gates.device)[:, None].expand(num_experts, length)
    expert = expert.masked_fill(~asks, num_experts).flatten(1)
    tokens = (
        torch.arange(length, device=gates.device).expand(groups, num_experts, length).flatten(1)
    )
    slots = _fill(
        rank, expert, tokens, gates.transpose(1, 2).flatten(1), num_experts, capacity, limits
    )
    return SlotRouting(*slots, length, {}, asks.sum(dim=2).float())


def _fill(
    rank: Int[Tensor, "G P"],
    expert: Int[Tensor, "G P"],
    tokens: Int[Tensor, "G P"],
    gates: Float[Tensor, "G P"],
    num_experts: int,
    capacity: int,
    limits: Int[Tensor, " G"] | None,
) -> tuple[Int[Tensor, "G E C"], Float[Tensor, "G E C"]]:
    """Put each pair into the slot of its rank.

    Refused pairs, and those without a choice (expert E), share one extra slot that is cut off.
    """
    groups = rank.shape[0]
    limit = capacity if limits is None else limits.clamp(max=capacity)[:, None]
    served = (rank < limit) & (expert < num_experts)
    slot = torch.where(served, expert * capacity + rank, num_experts * capacity)
    slots = (groups, num_experts * capacity + 1)
    taken = tokens.new_full(slots, EMPTY).scatter(1, slot, tokens)[:, :-1]
    weights = gates.new_zeros(slots).scatter(1, slot, gates)[:, :-1]
    return taken.unflatten(1, (num_experts, capacity)), weights.unflatten(
        1, (num_experts, capacity)
    )


def dropless(
    gates: Float[Tensor, "G T K"],
    experts: Int[Tensor, "G T K"],
    num_experts: int,
    losses: Mapping[str, Tensor] | None = None,
) -> RaggedRouting:
    """Serve every choice. Arguments as for `tokens_take`."""
    groups, length, k = experts.shape
    chosen = (experts < num_experts).flatten()
    tokens = torch.arange(groups * length, device=gates.device).repeat_interleave(k)
    served = (tokens[chosen], experts.flatten()[chosen], gates.flatten()[chosen])
    return RaggedRouting(*served, groups, length, num_experts, losses or {})


def pairs(
    weights: Float[Tensor, "G T E"],
    selected: Bool[Tensor, "G T E"],
    losses: Mapping[str, Tensor] | None = None,
) -> RaggedRouting:
    """Serve the selected pairs with their combine weights."""
    groups, length, num_experts = weights.shape
    group, token, expert = selected.nonzero(as_tuple=True)
    served = (group * length + token, expert, weights[selected])
    return RaggedRouting(*served, groups, length, num_experts, losses or {})


def real_positions(
    x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
) -> Int[Tensor, "G T"]:
    """Return each token's position among the real tokens of its group.

    Padding in front of a token does not move it.
    """
    if mask is None:
        return torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
    return (mask.cumsum(dim=1) - 1).clamp(min=0)
