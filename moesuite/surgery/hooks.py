"""Hooks of a host model: at each forward its MoE layers get the padding mask and the token ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from moesuite.models.forward import is_encoder_decoder
from moesuite.nn.moe import RoutingContext, Side
from moesuite.surgery.saving.marker import mark


def attach(model: nn.Module, context: RoutingContext) -> nn.Module:
    """Make every forward of `model` open and close the context of its layers; return the model.

    `save_pretrained` of a Hugging Face model writes the description of the layers.
    """
    model.register_forward_pre_hook(_Begin(context), with_kwargs=True)
    model.register_forward_hook(_End(context))
    mark(model)
    return model


def begin_routing(context: RoutingContext, model: nn.Module, inputs: Mapping[str, Any]) -> None:
    """Open the context for one forward of `model` with these keyword arguments."""
    decoder = _side(inputs, "decoder_") if is_encoder_decoder(model) else None
    context.begin(_side(inputs), model.training, decoder)


def _side(inputs: Mapping[str, Any], prefix: str = "") -> Side:
    """Read padding mask and token ids, [G, T], from Hugging Face's common keyword arguments."""
    mask = _matrix(inputs.get(f"{prefix}attention_mask"))
    ids = _matrix(inputs.get(f"{prefix}input_ids"))
    if mask is not None and ids is not None and inputs.get("past_key_values") is not None:
        # the mask covers all tokens so far, of which only the new ones are routed
        mask = mask[:, -ids.shape[1] :]
    return Side(None if mask is None else mask.bool(), ids)


def _matrix(value: Any) -> Tensor | None:
    return value if isinstance(value, Tensor) and value.ndim == 2 else None


class _Begin:
    """Opens the shared context. An object, not a closure: a copied model gets its own context."""

    def __init__(self, context: RoutingContext) -> None:
        self.context = context

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        begin_routing(self.context, module, kwargs)


class _End:
    """Closes the shared context."""

    def __init__(self, context: RoutingContext) -> None:
        self.context = context

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.context.end()
