"""Training steps: the auxiliary loss of a model is that of its layers, counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from moesuite.models.forward import call
from moesuite.nn.moe import MoE, aux_loss, moe_layers
from moesuite.support.small.subject import Inputs, numbers

TOLERANCE = 1e-4


def loss_faults(model: Any, inputs: Inputs) -> Iterator[str]:
    """Yield what is wrong in training steps of the model, and of parts that people call."""
    model.train()
    calls: list[Tensor] = []
    handles = [layer.register_forward_hook(_collector(calls)) for _, layer in moe_layers(model)]
    steps: dict[str, Callable[[], Any]] = {
        "training": lambda: call(model, inputs),
        "second training step": lambda: call(model, inputs),
    }
    if isinstance(inputs, Tensor) and hasattr(model, "forward_features"):
        steps["forward_features in training"] = lambda: model.forward_features(inputs)
    try:
        for what, forward in steps.items():
            yield from (f"{what}: {fault}" for fault in _step(model, forward, calls))
    finally:
        for handle in handles:
            handle.remove()
        model.eval()


def recomputed_faults(model: Any, inputs: Inputs) -> Iterator[str]:
    """Yield what is wrong in training where activations are computed again in backward."""
    if getattr(model, "supports_gradient_checkpointing", False):
        model.gradient_checkpointing_enable({"use_reentrant": False})
    elif isinstance(inputs, Tensor) and hasattr(model, "set_grad_checkpointing"):
        try:
            model.set_grad_checkpointing(True)
        except (AssertionError, NotImplementedError):
            return
    else:
        return
    yield from loss_faults(model, inputs)


def _collector(calls: list[Tensor]) -> Callable[[MoE, Any, Any], None]:
    def collect(layer: MoE, _args: Any, _output: Any) -> None:
        if layer.routing is not None and torch.is_grad_enabled():
            calls.extend(layer.routing.losses.values())

    return collect


def _step(model: Any, forward: Callable[[], Any], calls: list[Tensor]) -> Iterator[str]:
    """Yield what is wrong in one step."""
    calls.clear()
    model.zero_grad()
    torch.manual_seed(0)
    output = forward()
    expected = float(sum(loss.item() for loss in calls))
    auxiliary = aux_loss(model)
    if not abs(auxiliary.item() - expected) <= TOLERANCE * max(1.0, abs(expected)):
        yield f"auxiliary loss {auxiliary.item():.4g}, of the layers {expected:.4g}"
    loss = auxiliary + sum(each.float().nan_to_num(0, 0, 0).mean() for each in numbers(output))
    loss.backward()
    if again := aux_loss(model).item():
        yield f"auxiliary loss after backward, again: {again:.4g}"
    for name, layer in moe_layers(model):
        for part, parameter in layer.named_parameters():
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
                yield f"gradient of {name}.{part} is not finite"
