"""A model's twin without memory: every weight on the meta device, routers that decide on random tokens instead.

Shapes run through the twin as through the model, so that what it costs can be counted in seconds at
any size. What depends on values, routing, cannot run on meta tensors; there a copy of the router
with its real weights decides on standard normal tokens, or a routing that was measured is replayed.
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
    """Return the twin of `model`; the model itself is not touched.

    Args:
        model: on any device, meta included.
        training: mode of the twin.
        inputs: that the model would be called with, by name; routers read the padding masks, [G,
            T], among them.
        routings: to replay, by the name of the layer; None: routers decide.
        device: META, or the model's own for a twin with memory: a plain copy, for operations that
            need values.
    """
    memo: dict[int, Any] = {}
    if device == META:
        memo = {
            id(tensor): nn.Parameter(torch.empty_like(tensor, device=META), tensor.requires_grad)
            if isinstance(tensor, nn.Parameter)
            else torch.empty_like(tensor, device=META)
            for tensor in chain(model.parameters(), model.buffers())
        }
    twin = copy.deepcopy(model, memo)
    for (name, layer), (_, original) in zip(moe_layers(twin), moe_layers(model), strict=True):
        given = None if routings is None else routings[name]
        decoder = layer.in_decoder and is_encoder_decoder(model)
        mask = inputs.get("decoder_attention_mask" if decoder else "attention_mask")
        layer.set_submodule("router", Probe(original.router, mask, given))
        layer.stands_for = next(original.parameters()).device
    return twin.train(training)


class Probe(nn.Module):
    """Stands for a router in the twin. Its work, in training with the backward pass, is done on random tokens.

    Attributes:
        routing: the decision, its weights on the device of the twin.
        twins: pairs of a tensor that the router saw or made and the one that stands for it in the
            twin.
    """

    def __init__(self, router: Router, mask: Tensor | None, given: Routing | None) -> None:
        super().__init__()
        self.inner, self.name = _with_weights(router), name_of(router)
        self.mask, self.given = mask, given
        self.routing: Routing | None = None
        self.twins: list[tuple[Tensor, Tensor]] = []
        self.ids: Tensor | None = None

    def advance(self) -> None:
        """Do nothing: nothing is learned here."""

    def forward(self, x: Float[Tensor, "G T D"], mask: Tensor | None = None) -> Routing:
        """Decide for tokens of the shape of `x`."""
        device = next(chain(self.inner.parameters(), self.inner.buffers()), torch.empty(0)).device
        tokens = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(device)
        real = None if self.mask is None else self.mask.bool().to(device)
        ids = self.inner.ids  # of the last real forward, where that was
        self.inner.ids = ids.to(device) if ids is not None and ids.shape == x.shape[:2] else None
        with torch.set_grad_enabled(self.training), alone():
            routing = self.inner(tokens.requires_grad_(self.training), real)
            check_form(routing, x.shape, self.inner.spec.num_experts, self.name)
            check_values(routing, self.name)
            outcome = [
                t.sum()
                for t in (*_weights(routing).values(), *routing.losses.values())
                if t.requires_grad
            ]
            if outcome:
                torch.stack(outcome).sum().backward()
        made = _weights(routing)
        decision = self.given if self.given is not None else _within_budget(routing, self.inner)
        self.routing = _beside(decision, x.device)
        moved = _weights(self.routing)
        self.twins = [(tokens, x), *((made[name], moved[name]) for name in made)]
        return self.routing


def _with_weights(router: Router) -> Router:
    """Return a copy of `router`, built anew where it has no memory itself."""
    if any(tensor.is_meta for tensor in chain(router.parameters(), router.buffers())):
        with torch.device("cpu"):
            return type(router)(router.spec, **router.options)
    return copy.deepcopy(router)


def _within_budget(routing: Routing, router: Router) -> Routing:
    """Return what is to be expected: for a router whose work depends on values, its budget, spread evenly."""
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
    return {"weights": routing.weights}


def _beside(routing: Routing, device: torch.device) -> Routing:
    """Return the same decision with weights where the twin's tokens are, and no way back to the router's."""
    moved: dict[str, Any] = {
        name: torch.empty_strided(
            w.shape, w.stride(), dtype=w.dtype, device=META
        )  # uniform weights are one number
        if device == META
        else w.detach().to(device, copy=True)
        for name, w in _weights(routing).items()
    }
    for name, w in _weights(routing).items():
        moved[name].requires_grad_(w.requires_grad)
    return replace(routing, **moved, losses={})
