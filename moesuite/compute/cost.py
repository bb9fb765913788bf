"""Cost of a model of any size, without running it: FLOPs, parameters, activation memory.

Activated FLOPs are those that routed tokens need. Executed FLOPs are those that run, empty slots
and padded rows included; the difference is `padding`. 1 multiply-add = 2 FLOPs, GFLOP = 10⁹ FLOPs;
see `moesuite.compute.flop_counter` for what is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moesuite.compute.passes import Inputs, LayerPass, Pass, account
from moesuite.models.forward import call, evaluating
from moesuite.nn.moe import moe_layers
from moesuite.records.compute import Split
from moesuite.routing.forms import Routing


@dataclass(frozen=True)
class Account:
    """FLOPs of one pass of one example, by part."""

    activated: Split
    executed: Split


@dataclass(frozen=True)
class LayerCost:
    """Cost of one MoE layer for one example, without the backbone; see `Cost`."""

    name: str
    forward: Account
    training: Account
    slots_per_token: float
    parameters_total: int
    parameters_active: int


@dataclass(frozen=True)
class Cost:
    """Cost of one example.

    Attributes:
        forward: one forward pass in evaluation.
        training: forward and backward in training, all parameters trained.
        layers: each MoE layer by itself; empty for a dense model.
        slots_per_token: expert work per token relative to the dense MLP in `forward`, that of
            shared experts included, over all MoE layers; 1 without any.
        parameters_total, parameters_active: of the routed experts, active are those of one expert
            times its slots per token; all of shared ones.
        activation_bytes: bytes that a training step keeps for its backward pass.
        uncounted: "module: operation" for every operation without a formula.
    """

    forward: Account
    training: Account
    layers: list[LayerCost]
    slots_per_token: float
    parameters_total: int
    parameters_active: int
    activation_bytes: float
    uncounted: list[str]


def cost(
    model: nn.Module,
    inputs: Inputs,
    batch: int | None = None,
    routings: Mapping[str, Routing] | None = None,
) -> Cost:
    """Return the cost of one example of `model`, without running or changing it.

    Args:
        model: with or without MoE layers, on any device, meta included.
        inputs: a tensor, or keyword arguments, on any device.
        batch: number of examples in `inputs`, >= 1; None: the length of its first axis.
        routings: of the forward pass, from `observed_routings`; None: those that are expected, of
            each router as it is on standard normal tokens; of a router whose work depends on values
            (`Router.adaptive`), its budget.

    Raises:
        UserError: for inputs that the model refuses.

    Example:
        >>> import timm
        >>> with torch.device("meta"):
        ...     model = timm.create_model("vit_tiny_patch16_224")
        >>> vit = cost(model, torch.empty(1, 3, 224, 224, device="meta"))
        >>> round(vit.forward.executed.total / 1e9, 2)
        2.51
    """
    first = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
    size = len(first) if batch is None else batch
    forward = account(model, inputs, False, routings)
    training = account(model, inputs, True)
    return combine(model, forward, training, size)


def combine(model: nn.Module, forward: Pass, training: Pass, size: int) -> Cost:
    """Return the cost of one example from two passes over a batch of `size`."""
    layers = [
        LayerCost(
            name,
            _per_example(forward.layers[name], size),
            _per_example(training.layers[name], size),
            *numbers,
        )
        for name, numbers in _parameters(model, forward).items()
    ]
    tokens = sum(layer.work.tokens for layer in forward.layers.values())
    slots = sum(layer.slots for layer in forward.layers.values())
    total = sum(parameter.numel() for parameter in model.parameters())
    inactive = sum(layer.parameters_total - layer.parameters_active for layer in layers)
    return Cost(
        forward=_whole(forward, size),
        training=_whole(training, size),
        layers=layers,
        slots_per_token=slots / tokens if forward.layers else 1.0,
        parameters_total=total,
        parameters_active=total - inactive,
        activation_bytes=training.saved / size,
        uncounted=sorted(forward.uncounted | training.uncounted),
    )


def observed_routings(model: nn.Module, inputs: Inputs) -> dict[str, Routing]:
    """Run one forward pass of `model` in evaluation; return the routing of each MoE layer."""
    with evaluating(model), torch.no_grad():
        call(model, inputs)
    return {name: layer.routing for name, layer in moe_layers(model) if layer.routing is not None}


def _parameters(model: nn.Module, forward: Pass) -> dict[str, tuple[float, int, int]]:
    """Return slots per token, total and active parameters of each MoE layer."""
    numbers = {}
    for name, layer in moe_layers(model):
        routed = forward.layers[name].work.slots_per_token
        total = sum(parameter.numel() for parameter in layer.parameters())
        experts = sum(parameter.numel() for parameter in layer.experts.parameters())
        inactive = experts * max(0.0, 1 - routed / layer.experts.num_experts)
        numbers[name] = routed + layer.shared_experts, total, round(total - inactive)
    return numbers


def _per_example(layer: LayerPass, batch: int) -> Account:
    return Account(layer.activated.over(batch), layer.executed.over(batch))


def _whole(total: Pass, batch: int) -> Account:
    """Add up the backbone and all layers, per example."""
    activated = executed = Split(
        backbone=total.backbone, router=0, dispatch_combine=0, experts=0, padding=0
    )
    for layer in total.layers.values():
        activated, executed = activated + layer.activated, executed + layer.executed
    return Account(activated.over(batch), executed.over(batch))
