"""What a model costs: floating-point operations and parameters. 1 multiply-add = 2 FLOPs; GFLOP = 10⁹.

Activated: what routed tokens need. Executed: what really runs, empty slots included; the difference is `padding`.
Matrix products and attention are counted by torch's FlopCounterMode while the model runs once (the formula for CPU
attention, zero in some versions, is registered here); the experts' share comes from routings, and is exact.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from moesuite.moe import MoE, call, moe_layers
from moesuite.record import Split
from moesuite.routing import EMPTY, RaggedRouting, Routing, SlotRouting, SoftRouting


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


_FORMULAS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


@dataclass(frozen=True)
class Cost:
    """Cost of one example.

    Attributes:
        activated, executed: FLOPs of the forward pass by part.
        slots_per_token: expert work per token relative to the dense MLP, as it ran, over all MoE layers.
        parameters_total, parameters_active: active counts, of the experts' parameters, one expert's times
            `slots_per_token`.
    """

    activated: Split
    executed: Split
    slots_per_token: float
    parameters_total: int
    parameters_active: int


def count_flops(function: Callable[[], Any]) -> dict[str, int]:
    """Run `function` and return the FLOPs of its matrix products and attention by module, "Global" being all."""
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    with counter:
        function()
    return {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}


def rows(routing: Routing) -> tuple[int, int, int]:
    """Return (rows that experts compute, rows that carry a token, tokens) of a routing."""
    match routing:
        case SoftRouting():
            groups, length, num_experts, capacity = routing.dispatch.shape
            return groups * num_experts * capacity, groups * num_experts * capacity, groups * length
        case SlotRouting():
            filled = int((routing.tokens != EMPTY).sum())
            return routing.tokens.numel(), filled, routing.tokens.shape[0] * routing.num_tokens
        case RaggedRouting():
            return len(routing.tokens), len(routing.tokens), routing.num_groups * routing.num_tokens


def dispatch_combine_flops(routing: Routing, dim: int) -> int:
    """Return the FLOPs of moving tokens: two products with [T, S] tensors (soft), else one multiply-add per row."""
    if isinstance(routing, SoftRouting):
        groups, length, num_experts, capacity = routing.dispatch.shape
        return 2 * 2 * groups * length * num_experts * capacity * dim
    return 2 * rows(routing)[1] * dim


def cost(model: nn.Module, inputs: Tensor | dict[str, Tensor], batch: int) -> Cost:
    """Account one forward pass of `model` in its present mode.

    Args:
        model: with or without MoE layers.
        inputs: a tensor, or keyword arguments.
        batch: number of examples in `inputs`, >= 1.
    """
    with torch.no_grad():
        flops = count_flops(lambda: call(model, inputs))
    root = type(model).__name__
    backbone, router, moving, filled, empty, work, tokens = flops.get("Global", 0), 0, 0, 0, 0, 0, 0
    inactive = 0.0
    for name, layer in moe_layers(model):
        assert layer.routing is not None
        path = f"{root}.{name}" if name else root
        backbone -= flops.get(path, 0)
        router += flops.get(f"{path}.router", 0)
        computed, carried, seen = rows(layer.routing)
        moving += dispatch_combine_flops(layer.routing, layer.experts.dim)
        filled += carried * layer.experts.flops_per_row
        empty += (computed - carried) * layer.experts.flops_per_row
        work, tokens = work + computed, tokens + seen
        size = sum(parameter.numel() for parameter in layer.experts.parameters())
        inactive += size * max(0.0, 1 - computed / seen / layer.experts.num_experts)
    total = sum(parameter.numel() for parameter in model.parameters())
    parts = {"backbone": backbone, "router": router, "dispatch_combine": moving, "experts": filled}
    per_example = {key: value / batch for key, value in parts.items()}
    return Cost(
        activated=Split(**per_example, padding=0.0),
        executed=Split(**per_example, padding=empty / batch),
        slots_per_token=work / tokens if tokens else 1.0,
        parameters_total=total,
        parameters_active=round(total - inactive),
    )


def training_step_flops(model: nn.Module, inputs: Tensor | dict[str, Tensor]) -> int:
    """Return the FLOPs of forward and backward in training mode, counted on a copy that runs both once."""
    model = copy.deepcopy(model).train()

    def step() -> None:
        output = call(model, inputs)
        tensor = output if isinstance(output, Tensor) else output[0]
        tensor.float().sum().backward()

    with torch.random.fork_rng(devices=[]):
        flops = count_flops(step)["Global"]
    moved = sum(dispatch_combine_flops(r, layer.experts.dim) for r, layer in _gathered(model))
    return flops + 3 * moved


def _gathered(model: nn.Module) -> list[tuple[Routing, MoE]]:
    """Layers whose tokens move without matrix products, which the counter does not see."""
    layers = [(layer.routing, layer) for _, layer in moe_layers(model)]
    return [(r, layer) for r, layer in layers if r is not None and not isinstance(r, SoftRouting)]
