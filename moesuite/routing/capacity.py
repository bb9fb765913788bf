"""The capacity of an expert: how many slots it has in a group. The only place that rounds it.

Another rounding, for example to a multiple of 4 as in vmoe, is a change of `rounded`.
"""

from __future__ import annotations

from typing import TypeVar, overload

from torch import Tensor

from moesuite.errors import UserError
from moesuite.routing.layer import LayerSpec

SLACK = 1e-9  # 1.1 · 10 / 1 must give 11 slots, not 12
Number = TypeVar("Number", float, Tensor)


def rounded(slots: Number) -> Number:
    """Return the exact ceiling of a fractional number of slots, or of each in a float64 tensor."""
    return -((SLACK - slots) // 1)


@overload
def expert_capacity(slots_per_token: float, tokens: int, num_experts: int) -> int: ...


@overload
def expert_capacity(slots_per_token: float, tokens: Tensor, num_experts: int) -> Tensor: ...


def expert_capacity(slots_per_token: float, tokens: int | Tensor, num_experts: int) -> int | Tensor:
    """Return the slots C of an expert in a group: ceil(slots_per_token · T / E), at least 1.

    Args:
        slots_per_token: expert work per token relative to the dense MLP, E·C/T, in (0, E].
        tokens: T of one group, or an int64 tensor of them.
        num_experts: E, >= 1.
    """
    if isinstance(tokens, Tensor):
        slots = rounded(slots_per_token * tokens.double() / num_experts)
        return slots.clamp(min=1).long()
    return max(1, int(rounded(slots_per_token * tokens / num_experts)))


def refuse_limit(spec: LayerSpec, router: str, other: str) -> None:
    """Refuse a limit in evaluation, other than the budget itself, for a router without capacities.

    Its work follows the budget of training, in evaluation too.

    Args:
        spec: the layer.
        router: its name, for the message.
        other: a router that has a limit, for the message.

    Raises:
        UserError: for such a limit.
    """
    limit = spec.eval_slots_per_token
    if limit is not None and limit != spec.slots_per_token:
        raise UserError(
            f"eval_slots_per_token={limit}: expected none, or slots_per_token="
            f"{spec.slots_per_token}, with router={router}, which has no capacity in evaluation; "
            f"leave it out, or set router={other}"
        )
