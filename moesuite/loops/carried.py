"""`carry_aux_loss`: auxiliary losses that reach the gradient in a loop that cannot be changed.

The model's output carries them: it is unchanged, and in backward they get the gradient 1, as if
they had been added to the loss. The idea is that of `MoEAuxLossAutoScaler` in Megatron-LM and of
`AddAuxiliaryLoss` in DeepSeek's code.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from moesuite.errors import UserError
from moesuite.nn.moe import aux_loss, moe_layers


class _Carry(torch.autograd.Function):
    """Return `output`; in backward, give `aux` the gradient `scale`."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, aux: Tensor, scale: float) -> Tensor:
        ctx.scale, ctx.dtype, ctx.shape = scale, aux.dtype, aux.shape
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, gradient.new_full(ctx.shape, ctx.scale, dtype=ctx.dtype), None


def carry_aux_loss(model: nn.Module, scale: float = 1.0) -> RemovableHandle:
    """Let the output of `model` carry its auxiliary losses into backward; `remove()` ends it.

    For training scripts that are not yours, such as timm's: they call the model once a step, and
    the loss depends on its output. Where you can, add `moesuite.aux_loss(model)` to the loss
    instead: it follows whatever scales the loss, and it is seen in the log.

    Args:
        model: with MoE layers; its output is a tensor, or holds one that the loss depends on.
        scale: gradient of the auxiliary losses, > 0: 1 over the batches of a step where the loop
            divides the loss by them. A gradient scaler (float16) scales the loss alone: use
            bfloat16.

    Raises:
        UserError: for a model without MoE layers, or a scale that is not positive.
    """
    if not scale > 0:
        raise UserError(f"scale={scale}: expected more than 0, e.g. scale=1.0")
    if next(moe_layers(model), None) is None:
        raise UserError(
            f"{type(model).__name__} has no MoE layers; type moesuite.moefy(model) first"
        )

    def hook(module: nn.Module, _: Any, output: Any) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return None
        return _carried(output, aux_loss(module), scale)

    return model.register_forward_hook(hook)


def _carried(output: Any, aux: Tensor, scale: float) -> Any:
    """Return `output`, the first tensor in it carrying `aux`.

    Raises:
        UserError: for an output without a tensor.
    """
    if not aux.requires_grad:
        return output
    if isinstance(output, Tensor):
        return _Carry.apply(output, aux, scale)
    is_mapping = isinstance(output, MutableMapping)
    if not is_mapping and not isinstance(output, list | tuple):
        raise _without_tensor(output)
    items = output.items() if is_mapping else enumerate(output)
    first = next((key for key, value in items if isinstance(value, Tensor)), None)
    if first is None:
        raise _without_tensor(output)
    carrying = _Carry.apply(output[first], aux, scale)
    if isinstance(output, tuple):
        values = [*output[:first], carrying, *output[first + 1 :]]
        return output._make(values) if hasattr(output, "_make") else tuple(values)
    output[first] = carrying
    return output


def _without_tensor(output: Any) -> UserError:
    return UserError(
        f"an output of type {type(output).__name__} holds no tensor to carry auxiliary losses; "
        "expected a tensor, or a mapping or sequence with one; type loss = loss + "
        "moesuite.aux_loss(model) in the loop instead"
    )
