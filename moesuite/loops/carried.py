"""`carry_aux_loss`: auxiliary losses that reach the gradient in a loop that cannot be changed.

The output of each MoE layer carries the losses of that forward: it is unchanged, and once a
gradient reaches it, they get a constant one, as if they had been added to the loss. The idea is
that of `MoEAuxLossAutoScaler` in Megatron-LM and of `AddAuxiliaryLoss` in DeepSeek's code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from moesuite.errors import UserError
from moesuite.loops.cached import refuse_cached
from moesuite.nn.moe import MoE, moe_layers


class _Carry(torch.autograd.Function):
    """Return `output`; in the first backward, give each of `losses` the gradient `scale`."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, scale: float, *losses: Tensor) -> Tensor:
        ctx.scale, ctx.carried = scale, False
        ctx.losses = [(loss.shape, loss.dtype, loss.device) for loss in losses]
        return output.detach()  # no view: the host may change it in place

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.carried:
            return gradient, None, *(None for _ in ctx.losses)
        if not torch.compiler.is_compiling():  # a compiled graph has no memory
            ctx.carried = True
        ones = [
            torch.full(shape, ctx.scale, dtype=dtype, device=device)
            for shape, dtype, device in ctx.losses
        ]
        return gradient, None, *ones


@dataclass(frozen=True)
class Carrying:
    """Ends what `carry_aux_loss` began."""

    handles: list[RemovableHandle]

    def remove(self) -> None:
        """Let the layers carry no more: their losses are read by `aux_loss` again."""
        for handle in self.handles:
            handle.remove()


@dataclass(frozen=True)
class _Hook:
    """Of a layer's forward. An object, not a closure: models with it are pickled."""

    scale: float

    def __call__(self, layer: MoE, args: Any, output: Tensor) -> Tensor | None:
        refuse_cached(layer, args, output)
        losses = _take(layer)
        return _Carry.apply(output, self.scale, *losses) if losses else None


def carry_aux_loss(model: nn.Module, scale: float = 1.0) -> Carrying:
    """Let the MoE layers of `model` carry their auxiliary losses into backward.

    For training loops that are not yours, such as timm's: the losses count once for each forward in
    training, whichever part of the model is called and whatever is made of its output, if the
    loss depends on the output of the layer. `aux_loss(model)` is then 0.

    Where you can, add `moesuite.aux_loss(model)` to the loss instead: it follows whatever scales
    the loss, and it is seen in the log.

    Args:
        model: with MoE layers.
        scale: gradient of the auxiliary losses, > 0. Under gradient accumulation, 1 / steps: the
            loop divides its loss by them, and cannot divide these. A gradient scaler (float16)
            scales the loss alone: use bfloat16.

    Raises:
        UserError: for a model without MoE layers, or a scale that is not positive.
    """
    if not 0 < scale < float("inf"):
        raise UserError(f"scale={scale}: expected more than 0, e.g. scale=1.0")
    layers = [layer for _, layer in moe_layers(model)]
    if not layers:
        raise UserError(
            f"{type(model).__name__} has no MoE layers; type moesuite.moefy(model) first"
        )
    return Carrying([layer.register_forward_hook(_Hook(scale)) for layer in layers])


def _take(layer: MoE) -> list[Tensor]:
    """Return the losses that the last forward of a layer recorded, so that nobody reads them twice.

    A forward that records none, as one that backward repeats, leaves those of an earlier one in
    `layer.routing`: these were taken then.
    """
    losses = [] if layer.routing is None else list(layer.routing.losses.values())
    unread = layer.context.losses
    taken = [loss for _, loss in unread if _is_among(loss, losses)]
    if taken:
        layer.context.losses = [pair for pair in unread if not _is_among(pair[1], losses)]
    return taken


def _is_among(loss: Tensor, losses: list[Tensor]) -> bool:
    return any(loss is other for other in losses)
