"""Hooks of a host model: whichever part of it is called, its MoE layers learn of masks and ids."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from moesuite.nn.context import RoutingContext, Scope
from moesuite.nn.moe import moe_layers
from moesuite.nn.recomputation import call_of_module, in_backward
from moesuite.surgery.saving.marker import mark

MASKED = -1000.0  # scores of masked pairs are below, whatever the precision
MASK = "attention_mask"  # 1: a real token; or of attention, [G, H, T, T]
OF_ATTENTION = "attn_mask"  # [G, H, T, T]; timm
OF_PADDING = ("src_key_padding_mask", "key_padding_mask")  # True: padding; torch
IDS = "input_ids"
EMBEDDED = ("inputs_embeds", "hidden_states")  # [G, T, D]
CACHES = ("cache", "past_key_values", "past_key_value", "layer_past")
# starts of parameters that bring tokens which a text's mask does not cover
NO_TEXT = ("pixel", "image", "visual", "video", "audio", "input_features", "input_values")
TARGET = "decoder_input"  # start of parameters of an encoder-decoder
KNOWN = (MASK, OF_ATTENTION, *OF_PADDING, IDS, *EMBEDDED[:1], *CACHES)


def attach(model: nn.Module, context: RoutingContext) -> nn.Module:
    """Make calls of `model`, and of parts of it, open and close scopes; return the model.

    `save_pretrained` of a Hugging Face model writes the description of the layers.
    """
    follow(model, (name for name, layer in moe_layers(model) if layer.context is context), context)
    mark(model)
    return model


def follow(
    model: nn.Module, layers: Iterable[str], context: RoutingContext
) -> list[RemovableHandle]:
    """Make the modules around `layers` open scopes of `context`; return the hooks' handles."""
    handles = []
    for name in _around(layers):
        module = model.get_submodule(name)
        call = Call(module)
        if name == "" or call.tells:
            begin, end = _Begin(context, name, call), _End(context, name)
            handles.append(module.register_forward_pre_hook(begin, with_kwargs=True))
            # also if it raises
            handles.append(module.register_forward_hook(end, always_call=True))
    return handles


def _around(layers: Iterable[str]) -> list[str]:
    """Return the names of all modules around the named ones, from the model on."""
    around: dict[str, None] = {}
    for layer in layers:
        parts = layer.split(".")
        around |= {".".join(parts[:depth]): None for depth in range(len(parts))}
    return list(around)


class Call:
    """Reads a module's arguments by their names, positional or not.

    Attributes:
        tells: whether the module takes arguments that tell of its tokens.
    """

    def __init__(self, module: nn.Module) -> None:
        names = list(inspect.signature(module.forward).parameters)
        self._positions = {name: index for index, name in enumerate(names)}
        self._no_text = [name for name in names if name.startswith(NO_TEXT)]
        self._is_encoder_decoder = any(name.startswith(TARGET) for name in names)
        masks = (MASK, OF_ATTENTION, *OF_PADDING)
        self._takes_mask = any(name in self._positions for name in masks)
        self.tells = bool(self._no_text) or any(name in self._positions for name in KNOWN)

    def scope(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope:
        """Return what a call says of its tokens."""

        def tensor(key: str) -> Tensor | None:
            value = self._argument(key, args, kwargs)
            return value if isinstance(value, Tensor) else None

        ids = _matrix(tensor(IDS))
        tokens = [value for key in EMBEDDED if (value := tensor(key)) is not None]
        has_others = any(tensor(key) is not None for key in self._no_text)
        has_text = ids is not None or tensor(EMBEDDED[0]) is not None
        if self._is_encoder_decoder or (has_text and has_others):
            # which of them its mask is of, its parts are told
            return Scope(fresh=True, name=name)
        shape = _shape(tokens[0] if ids is None and tokens else ids)
        mask, implied = self._mask(args, kwargs)
        if mask is not None and shape is not None and not implied and mask.shape[1] > shape[1]:
            cache = [self._argument(key, args, kwargs) for key in CACHES]
            if any(_is_filled(value) for value in cache):
                # it covers all tokens so far, of which only the new ones are routed
                mask = mask[:, -shape[1] :]
        fresh = ids is not None or (has_others and not tokens)
        return Scope(mask, implied, self._takes_mask, ids, shape, fresh, name)

    def _argument(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        position = self._positions.get(name, len(args))
        return args[position] if position < len(args) else kwargs.get(name)

    def _mask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor | None, bool]:
        """Return the padding mask, and whether it is what one of attention implies."""
        mask = self._argument(MASK, args, kwargs)
        if isinstance(mask, Tensor) and mask.ndim == 2:
            return _real(mask), False
        if not isinstance(mask, Tensor):
            mask = self._argument(OF_ATTENTION, args, kwargs)
        if isinstance(mask, Tensor) and mask.ndim in (3, 4):
            return padding_of(mask), True
        for name in OF_PADDING:
            padding = _matrix(self._argument(name, args, kwargs))
            if padding is not None:
                real = padding > MASKED if padding.is_floating_point() else ~padding.bool()
                return real, False
        return None, False


def _matrix(value: Any) -> Tensor | None:
    return value if isinstance(value, Tensor) and value.ndim == 2 else None


def _shape(tokens: Tensor | None) -> tuple[int, int] | None:
    return (
        None if tokens is None or tokens.ndim not in (2, 3) else (tokens.shape[0], tokens.shape[1])
    )


def _real(mask: Tensor) -> Tensor:
    """Return a padding mask as booleans; one of floats is 1 and 0, or is added to scores."""
    if not mask.is_floating_point():
        return mask.bool()
    return torch.where((mask == 1).any(), mask > 0, mask > MASKED)


def padding_of(mask: Tensor) -> Tensor | None:
    """Return the padding mask that one of attention implies; None for queries of other tokens.

    A token is real if it may attend to itself. Booleans say which pairs attend or, as MPT's, which
    do not: the first token sees all others, and not each sees itself.

    Args:
        mask: [G, T, T], [G, 1, T], or with heads, [G, H, ...]; True or 0 where tokens attend.
    """
    queries, keys = mask.shape[-2:]
    if queries not in (1, keys):
        return None
    while mask.ndim > 3:
        mask = mask[:, 0]
    real = mask > MASKED if mask.is_floating_point() else mask.bool()
    first = real[:, 0]  # what the first token attends to
    real = first if queries == 1 else real.diagonal(dim1=-2, dim2=-1)
    if mask.is_floating_point() or keys == 1:
        return real
    is_inverted = ~real.any() if queries == 1 else first[:, 1:].all() & ~real.all()
    return real ^ is_inverted


def _is_filled(cache: Any) -> bool:
    """Return whether a cache holds tokens; None holds none."""
    if cache is None:
        return False
    length = cache.get_seq_length() if hasattr(cache, "get_seq_length") else len(cache)
    return not isinstance(length, int) or length > 0  # one without a number is of fixed size


class _Begin:
    """Opens a scope. An object, not a closure: a copied model gets its own context."""

    def __init__(self, context: RoutingContext, name: str, call: Call) -> None:
        self.context = context
        self.name = name
        self.call = call

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling() or not in_backward():
            scope = self.call.scope(self.name, args, kwargs)
            if not torch.compiler.is_compiling():
                scope.frame = call_of_module()
            self.context.open(scope, module.training)


class _End:
    """Closes it."""

    def __init__(self, context: RoutingContext, name: str) -> None:
        self.context = context
        self.name = name

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if torch.compiler.is_compiling() or not in_backward():
            self.context.close(self.name, failed=output is None)
