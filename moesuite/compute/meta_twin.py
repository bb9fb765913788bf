"""A twin of a model on the meta device, whose routers decide on random tokens.

Shapes propagate through the twin as through the model, so that costs of any size can be counted in
seconds. Routing depends on values and cannot run on meta tensors: instead, a copy of the router
with its real weights decides on standard normal tokens, or an observed routing is replayed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite.models.forward import is_encoder_decoder
from moesuite.nn.moe import moe_layers
from moesuite.routing.router import RaggedRouting, Router, Routing, SoftRouting
from moesuite.routing.scope import alone
from moesuite.routing.validation import check_form, check_values, name_of

META = torch.device("meta")


def shadow(
    model: nn.Module,
    training: bool,
    inputs: Mapping[str, Tensor],
    routings: Mapping[str, Routing] | None = None,
    device: torch.device = META,
) -> nn.Module:
    """Return the twin of `model`, which is not changed.

    Args:
        model: on any device, meta included.
        training: mode of the twin.
        inputs: inputs of the model by name; routers read the padding masks, [G, T], among them.
        routings: routings to replay, by layer name; None: routers decide.
        device: META, or the device of the model for a twin with memory: a plain copy, for
            operations that need values.
    """
    memo: dict[int, Any] = {}
    if device == META:
        tensors = chain(model.parameters(), model.buffers())
        memo = {id(tensor): _on_meta(tensor) for tensor in tensors}
    twin = copy.deepcopy(model, memo)
    for (name, layer), (_, original) in zip(moe_layers(twin), moe_layers(model), strict=True):
        replayed = None if routings is None else routings[name]
        decoder = layer.in_decoder and is_encoder_decoder(model)
        mask = inputs.get("decoder_attention_mask" if decoder else "attention_mask")
        layer.set_submodule("router", Probe(original.router, mask, replayed))
        layer.stands_for = next(original.parameters()).device
    return twin.train(training)


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device=META)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, tensor.requires_grad)
    return empty


class Probe(nn.Module):
    """Stand-in for a router in the twin, which routes random tokens, in training with backward.

    Attributes:
        routing: the decision, its weights on the device of the twin.
        twins: pairs of a tensor that the router read or returned and its stand-in in the twin.
    """

    def __init__(self, router: Router, mask: Tensor | None, replayed: Routing | None) -> None:
        super().__init__()
        self.inner = _with_weights(router)
        self.name = name_of(router)
        self.mask = mask
        self.replayed = replayed
        self.routing: Routing | None = None
        self.twins: list[tuple[Tensor, Tensor]] = []
        self.ids: Tensor | None = None

    def advance(self) -> None:
        """Do nothing: a probe has no running statistics."""

    def forward(self, x: Float[Tensor, "G T D"], mask: Tensor | None = None) -> Routing:
        """Decide for tokens of the shape of `x`."""
        device = next(chain(self.inner.parameters(), self.inner.buffers()), torch.empty(0)).device
        tokens = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(device)
        real = None if self.mask is None else self.mask.bool().to(device)
        ids = self.inner.ids  # of the last real forward, if there was one
        self.inner.ids = ids.to(device) if ids is not None and ids.shape == x.shape[:2] else None
        with torch.set_grad_enabled(self.training), alone():
            routing = self.inner(tokens.requires_grad_(self.training), real)
            check_form(routing, x.shape, self.inner.spec.num_experts, self.name)
            check_values(routing, self.name)
            results = (*_weights(routing).values(), *routing.losses.values())
            trained = [tensor.sum() for tensor in results if tensor.requires_grad]
            if trained:
                torch.stack(trained).sum().backward()
        decision = self.replayed
        if decision is None:
            decision = _within_budget(routing, self.inner)
        self.routing = _moved(decision, x.device)
        weights, moved = _weights(routing), _weights(self.routing)
        self.twins = [(tokens, x), *((weights[name], moved[name]) for name in weights)]
        return self.routing


def _with_weights(router: Router) -> Router:
    """Return a copy of `router`, rebuilt with memory if it is on the meta device."""
    if any(tensor.is_meta for tensor in chain(router.parameters(), router.buffers())):
        with torch.device("cpu"):
            return type(router)(router.spec, **router.options)
    return copy.deepcopy(router)


def _within_budget(routing: Routing, router: Router) -> Routing:
    """Return the expected routing: of a router whose work depends on values, its even budget."""
    if not (router.adaptive and isinstance(routing, RaggedRouting)):
        return routing
    total = routing.num_groups * routing.num_tokens
    index = torch.arange(round(total * router.spec.slots_per_token))
    weights = torch.ones(len(index), requires_grad=routing.weights.requires_grad)
    return replace(
        routing, tokens=index % total, experts=index % routing.num_experts, weights=weights
    )


def _weights(routing: Routing) -> dict[str, Tensor]:
    if isinstance(routing, SoftRouting):
        return {"dispatch": routing.dispatch, "combine": routing.combine}
    if routing.gates is None:
        return {"weights": routing.weights}
    return {"weights": routing.weights, "gates": routing.gates}


def _moved(routing: Routing, device: torch.device) -> Routing:
    """Return the same decision with weights on `device`, cut off from the router's graph."""
    moved: dict[str, Any] = {}
    for name, weights in _weights(routing).items():
        if device == META:  # with the same strides: uniform weights are a single number
            shape, stride = weights.shape, weights.stride()
            copied = torch.empty_strided(shape, stride, dtype=weights.dtype, device=META)
        else:
            copied = weights.detach().to(device, copy=True)
        moved[name] = copied.requires_grad_(weights.requires_grad)
    return replace(routing, **moved, losses={})
