"""Layers of any library that compute what `nn.Linear` does."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn


def is_linear(part: Any) -> bool:
    """Return whether a part is a linear layer on the last axis, as `as_linear` reads."""
    return is_plain(type(part)) or type(part).__name__ == "Conv1D"


def is_plain(kind: type) -> bool:
    """Return whether a class is `nn.Linear`, or one of people's own that does just the same.

    Quantised layers and LoRA have a forward of their own, torch's own subclasses other uses.
    """
    if kind is nn.Linear or not issubclass(kind, nn.Linear):
        return kind is nn.Linear
    is_of_torch = kind.__module__.startswith("torch.")  # also those with computed weights
    calls = kind.forward is nn.Linear.forward and kind.__call__ is nn.Linear.__call__
    return calls and not is_of_torch


def as_linear(layer: nn.Module) -> nn.Linear | None:
    """Return a linear layer, GPT-2's `Conv1D` or a 1x1 convolution as `nn.Linear`, or None.

    None for weights that are quantised, sharded, computed from others or not there yet.
    """
    if type(getattr(layer, "weight", None)) is not nn.Parameter:
        return None
    if is_plain(type(layer)):
        is_whole = set(layer._parameters) == {"weight", "bias"} and not layer._modules
        return cast(nn.Linear, layer) if is_whole else None
    if type(layer).__name__ == "Conv1D":
        weight: Any = layer.weight
        return _linear(weight, weight.detach().t(), layer.bias)
    if type(layer) is not nn.Conv2d or layer.kernel_size != (1, 1) or layer.groups != 1:
        return None
    return _linear(layer.weight, layer.weight.detach().flatten(1), layer.bias)


def halves(packed: nn.Linear) -> tuple[nn.Linear, nn.Linear]:
    """Split a linear layer with two outputs side by side; the halves are views of it."""
    first, second = (
        _linear(packed.weight, weight, None if packed.bias is None else _half(packed.bias, index))
        for index, weight in enumerate(packed.weight.detach().chunk(2))
    )
    return first, second


def _linear(parameter: Any, weight: Tensor, bias: Any) -> nn.Linear:
    """Return a linear layer with a view of a parameter as its weight.

    Nothing is registered: hooks of all registrations may move parameters elsewhere.
    """
    outputs, inputs = weight.shape
    linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias is not None)
    linear._parameters["weight"] = nn.Parameter(weight, parameter.requires_grad)
    linear._parameters["bias"] = bias
    return linear


def _half(packed: Tensor, index: int) -> nn.Parameter:
    return nn.Parameter(packed.detach().chunk(2)[index], packed.requires_grad)
