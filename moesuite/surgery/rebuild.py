"""Rebuild the MoE layers that a description names, in a dense or a Hugging Face MoE model."""

from __future__ import annotations

from torch import nn

from moesuite.errors import UserError
from moesuite.models.candidates import Adapter, readable
from moesuite.models.moe_blocks.blocks import Block
from moesuite.models.moe_blocks.layer import rerouted
from moesuite.models.moe_blocks.original import OWN, OriginalRouter, share_gate
from moesuite.models.selection import select_blocks
from moesuite.nn.context import RoutingContext
from moesuite.routers import build_router
from moesuite.routing.router import Router
from moesuite.surgery.checkpoint_format import Description, LayerDescription
from moesuite.surgery.hooks import attach
from moesuite.surgery.moefy import in_decoder, install, put


def rebuild(
    model: nn.Module, description: Description, adapter: Adapter | None = None
) -> nn.Module:
    """Put the described MoE layers into `model`, in place and without their weights; return it.

    Raises:
        UserError: if a layer has no MLP in this model.
    """
    replaced = {n: layer for n, layer in description.layers.items() if not layer.rerouted}
    _rebuild_replaced(model, replaced, adapter)
    rerouted = {n: layer for n, layer in description.layers.items() if layer.rerouted}
    if rerouted:
        _rebuild_rerouted(model, rerouted)
    return model


def _rebuild_replaced(
    model: nn.Module, layers: dict[str, LayerDescription], adapter: Adapter | None
) -> None:
    """Rebuild layers that replaced MLPs."""
    by_name = {candidate.name: candidate for candidate in readable(model, adapter)}
    if missing := [name for name in layers if name not in by_name]:
        raise UserError(
            f"no MLP at {', '.join(missing)}; expected a model of the saved architecture"
        )
    routers = [build_router(layer.router, layer.spec, layer.options) for layer in layers.values()]
    parts = [layer.parts for layer in layers.values()]
    if layers:
        install(model, [by_name[name] for name in layers], routers, parts)


def _rebuild_rerouted(model: nn.Module, layers: dict[str, LayerDescription]) -> None:
    """Rebuild layers that replaced MoE layers of Hugging Face, around their experts."""
    context = RoutingContext()
    for block in select_blocks(model, list(layers)):
        layer = layers[block.name]
        router, decodes = _router(layer, block), in_decoder(block.name)
        moe = rerouted(block, router, layer.renormalise, decodes)
        put(model, block.name, moe, context)
    attach(model, context)


def _router(layer: LayerDescription, block: Block) -> Router:
    if layer.router == OWN:
        return OriginalRouter(layer.spec, block.gate)
    router = build_router(layer.router, layer.spec, layer.options)
    share_gate(router, block.gate)
    return router
