"""What a model costs: floating-point operations, parameters and activation memory, of any size, without running it.

Activated: what routed tokens need. Executed: what really runs, empty slots and fill-up included;
the difference is `padding`. 1 multiply-add = 2 FLOPs, GFLOP = 10⁹ FLOPs; see
`moesuite.compute.flop_counter` for what is counted.
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
    """Cost of one MoE layer for one example, without the backbone's share; see `Cost`."""

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
        layers: every MoE layer by itself; empty for a dense model.
        slots_per_token: expert work per token relative to the dense MLP in `forward`, over all MoE
            layers; 1 if none.
        parameters_total, parameters_active: active counts, of the experts' parameters, one expert's
            times `slots_per_token`.
        activation_bytes: that a training step keeps for its backward pass.
        uncounted: "module: operation" for everything without a formula.
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
    """Account one example of `model`, which is neither run nor changed, and may be on the meta device.

    Args:
        model: with or without MoE layers.
        inputs: a tensor, or keyword arguments, on any device.
        batch: number of examples in `inputs`, >= 1; None: the length of its first axis.
        routings: of the forward pass, as `measured` gave them; None: what is to be expected: each
            router as it stands, on standard normal tokens; one whose work depends on values
            (`Router.adaptive`) at its budget.

    Raises:
        UserError: for inputs that the model refuses.

    Example:
        >>> import timm
        >>> with torch.device("meta"):
        ...     model = timm.create_model("vit_tiny_patch16_224")
        >>> found = cost(model, torch.empty(1, 3, 224, 224, device="meta"))
        >>> round(found.forward.executed.total / 1e9, 2)
        2.51
    """
    first = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
    size = len(first) if batch is None else batch
    return combine(
        model, account(model, inputs, False, routings), account(model, inputs, True), size
    )


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
    works = [layer.work for layer in forward.layers.values()]
    total = sum(parameter.numel() for parameter in model.parameters())
    return Cost(
        forward=_whole(forward, size),
        training=_whole(training, size),
        layers=layers,
        slots_per_token=sum(w.slots for w in works) / sum(w.tokens for w in works)
        if works
        else 1.0,
        parameters_total=total,
        parameters_active=total
        - sum(layer.parameters_total - layer.parameters_active for layer in layers),
        activation_bytes=training.saved / size,
        uncounted=sorted(forward.uncounted | training.uncounted),
    )


def measured(model: nn.Module, inputs: Inputs) -> dict[str, Routing]:
    """Run one forward pass of `model` in evaluation and return the routing of each MoE layer."""
    with evaluating(model), torch.no_grad():
        call(model, inputs)
    return {name: layer.routing for name, layer in moe_layers(model) if layer.routing is not None}


def _parameters(model: nn.Module, found: Pass) -> dict[str, tuple[float, int, int]]:
    """Return slots per token, and parameters total and active, of each MoE layer."""
    numbers = {}
    for name, layer in moe_layers(model):
        slots = found.layers[name].work.slots_per_token
        total = sum(parameter.numel() for parameter in layer.parameters())
        experts = sum(parameter.numel() for parameter in layer.experts.parameters())
        inactive = experts * max(0.0, 1 - slots / layer.experts.num_experts)
        numbers[name] = slots, total, round(total - inactive)
    return numbers


def _per_example(layer: LayerPass, batch: int) -> Account:
    return Account(layer.activated.over(batch), layer.executed.over(batch))


def _whole(found: Pass, batch: int) -> Account:
    """Add the backbone and all layers up, per example."""
    activated = executed = Split(
        backbone=found.backbone, router=0, dispatch_combine=0, experts=0, padding=0
    )
    for layer in found.layers.values():
        activated, executed = activated + layer.activated, executed + layer.executed
    return Account(activated.over(batch), executed.over(batch))
