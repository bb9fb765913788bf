"""Rerouting: another router in a trained mixture of experts; no training, and no weight is copied.

Do, Le and Tran, "Sparse Mixture of Experts as Unified Competitive Learning" (2025),
https://arxiv.org/abs/2503.22996: the trained gate gives the logits, another rule decides; experts,
shared ones included, stay as they are. Not in the paper: the identity check. Each layer is rebuilt
with the model's own rule first and has to give its outputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.config.schema import BalanceScope
from moesuite.discovery.names import router_names
from moesuite.errors import UserError
from moesuite.models.backbones import load_pretrained
from moesuite.models.example_inputs import random_example, told_of_random_example
from moesuite.models.forward import first_tensor, run_once, without_autocast
from moesuite.models.moe_blocks.blocks import Block
from moesuite.models.moe_blocks.layer import ReroutedMoE, rerouted
from moesuite.models.moe_blocks.original import OWN, OriginalRouter, share_gate
from moesuite.models.selection import Layers, select_blocks
from moesuite.nn.context import RoutingContext, Scope
from moesuite.nn.moe import MoE
from moesuite.routers import build_router, router_class
from moesuite.routing.router import Router
from moesuite.surgery.hooks import attach, follow
from moesuite.surgery.moe_config import MoEConfig
from moesuite.surgery.moefy import in_decoder, put

# of the identity check, relative to the largest output: rounding of float32 and of half precision
TOLERANCE, HALF_TOLERANCE = 1e-4, 0.02


@dataclass(frozen=True)
class ReroutedLayer:
    """One layer on the example, in evaluation; differences are the largest absolute ones.

    Attributes:
        layer: name of the module.
        identity: difference of the layer rebuilt with the model's own rule: 0 but for rounding.
        difference: of the layer with the new router.
        scale: largest absolute output of the model's own layer.
        kept: share of the own rule's (token, expert) pairs that the new router serves too.
        pairs_per_token: experts per token of the new router.
    """

    layer: str
    identity: float
    difference: float
    scale: float
    kept: float
    pairs_per_token: float

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"{self.layer}  |difference| of own rule {self.identity:.2e}, of new router "
            f"{self.difference:.2e} (|own| {self.scale:.2e}); keeps {self.kept:.1%} of the pairs, "
            f"{self.pairs_per_token:.2f} experts per token"
        )


def reroute(
    model: nn.Module | str,
    router: str = "usmoe",
    slots_per_token: float | None = MoEConfig.slots_per_token,
    eval_slots_per_token: float | None = MoEConfig.eval_slots_per_token,
    layers: Layers | None = None,
    example: Any = None,
    balance_scope: BalanceScope = MoEConfig.balance_scope,
    **router_options: Any,
) -> tuple[nn.Module, list[ReroutedLayer]]:
    """Replace the routers of a trained Hugging Face MoE model, in place; no weight is changed.

    Args:
        model: with layers of a linear gate and experts, docs/rerouting.md lists them; or the name
            of one, `hf:<local folder or hub id>`.
        router: name of a router whose only weights are a linear gate, or that has none; "own": the
            model's rule.
        slots_per_token, eval_slots_per_token, balance_scope: see
            `moesuite.surgery.moe_config.MoEConfig`.
        layers: last_half, every_other, all or last_two of the MoE layers, or a list of indices or
            names; None: all, which all have to be readable.
        example: keyword arguments of the model, for the check; None: always the same random ones.
        router_options: the router's own parameters; `k` defaults to the model's own.

    Returns:
        The model, and how each layer compares on the example.

    Raises:
        UserError: for a model without MoE layers that can be read, a router that needs other
            weights, or layers that give other outputs under their own rule.
    """
    config = MoEConfig.of_arguments(
        {},
        router=router,
        slots_per_token=slots_per_token,
        eval_slots_per_token=eval_slots_per_token,
        balance_scope=balance_scope,
    )
    return replace_routers(model, replace(config, options=router_options), layers, example)


@without_autocast()
def replace_routers(
    model: nn.Module | str, config: MoEConfig, layers: Layers | None = None, example: Any = None
) -> tuple[nn.Module, list[ReroutedLayer]]:
    """Do what `reroute` does, with the router of `config`."""
    model = load_pretrained(model) if isinstance(model, str) else model
    chosen = select_blocks(model, layers)
    routers = [_build_router(config, block) for block in chosen]
    inputs = random_example(model) if example is None else example
    with told_of_random_example(model, example):
        observed = _observe(model, chosen, inputs)
    rows: list[ReroutedLayer] = []
    replacements: dict[str, ReroutedMoE] = {}
    for block, router in zip(chosen, routers, strict=True):
        seen, decodes = observed.pop(block.name), in_decoder(block.name)
        original = rerouted(block, OriginalRouter(router.spec, block.gate), in_decoder=decodes)
        layer = rerouted(block, router, _needs_normalising(block, router), decodes)
        rows.append(_compare(block.name, original, layer, seen))
        replacements[block.name] = layer
    context = RoutingContext()
    # only when all have passed the check: an error leaves the model whole
    for name, layer in replacements.items():
        put(model, name, layer, context)
    for part in model.modules():
        hf_config: Any = getattr(part, "config", None)
        if getattr(hf_config, "output_router_logits", False):
            hf_config.output_router_logits = False  # the loss on them reads gates that are gone
    return attach(model, context), rows


def _needs_normalising(block: Block, router: Router) -> bool:
    """Return whether a block normalises weights, and its new router has no option to."""
    return block.gate.normalises and router.name != OWN and "normalise" not in router.options


def _build_router(config: MoEConfig, block: Block) -> Router:
    """Build the new router on the model's gate, whose weight it shares.

    Raises:
        UserError: for a router that needs other weights.
    """
    num_experts, dim = block.gate.linear.weight.shape
    spec = config.layer_spec(dim, num_experts=num_experts, default_slots=float(block.k))
    if config.router == OWN:
        return OriginalRouter(spec, block.gate)
    cls = router_class(config.router)
    if not cls.fits_trained_gate:
        raise _unfit(config.router)
    router = build_router(config.router, spec, {**_defaults(cls, block), **config.options})
    share_gate(router, block.gate)
    trained = {id(value) for value in (block.gate.linear.weight, block.gate.bias)}
    if any(id(parameter) not in trained for parameter in router.parameters()):
        raise _unfit(config.router)
    # a bias of sigmoid scores means nothing to others
    correction = block.gate.correction if block.gate.score == "sigmoid" else None
    if correction is not None and hasattr(router, "bias"):
        router.bias = correction
    return router


def _unfit(name: str) -> UserError:
    fitting = [other for other in router_names() if router_class(other).fits_trained_gate]
    return UserError(
        f"router={name}: it needs weights of its own besides a trained gate [E, D], or has no "
        f"experts to choose; expected {OWN}, {', '.join(fitting)}, e.g. router=usmoe"
    )


def _defaults(cls: type[Router], block: Block) -> Mapping[str, Any]:
    """Return the options of a router that the model decides."""
    parameters = inspect.signature(cls.__init__).parameters
    return {name: value for name, value in block.rule.items() if name in parameters}


Seen = tuple[Tensor, Tensor, Scope | None]  # input, output and scope of a model's own layer


def _observe(model: nn.Module, chosen: list[Block], example: Any) -> dict[str, Seen]:
    """Run the model once as it is, and return what each MoE layer did.

    Raises:
        UserError: if the example does not reach a layer.
    """
    seen: dict[str, Seen] = {}
    context = RoutingContext()

    def hook_of(name: str) -> Any:
        def store(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], y: Any) -> None:
            x = first_tensor([*args, *kwargs.values()])
            seen[name] = x, first_tensor(y), context.scope

        return store

    handles = follow(model, (block.name for block in chosen), context)
    handles += [
        model.get_submodule(block.name).register_forward_hook(hook_of(block.name), with_kwargs=True)
        for block in chosen
    ]
    run_once(model, example, handles)
    if missed := [block.name for block in chosen if block.name not in seen]:
        raise UserError(
            f"{missed[0]}: the example does not reach this layer; expected inputs that do, e.g. "
            "example={'input_ids': ids}, or layers=<names of others>"
        )
    return seen


@torch.no_grad()
def _compare(name: str, original: MoE, new: MoE, seen: Seen) -> ReroutedLayer:
    """Run both layers on the input of the model's own, and compare the outputs.

    Raises:
        UserError: if the model's own rule gives another output than the model did.
    """
    _, y, _ = seen
    identity, own_pairs = _run(original, seen)
    difference, new_pairs = _run(new, seen)
    scale = y.float().abs().max().item()
    rounding = TOLERANCE if y.dtype == torch.float32 else HALF_TOLERANCE
    if not identity <= rounding * scale:  # also true for NaN
        raise UserError(
            f"{name}: rebuilt with its own rule, its output is off by {identity:.2e} (largest "
            f"output {scale:.2e}): this model routes in an unknown way; expected layers without "
            "jitter or rules besides the gate"
        )
    num_tokens = own_pairs.any(dim=-1).sum().item()
    kept = (own_pairs & new_pairs).sum() / own_pairs.sum().clamp(min=1)
    pairs_per_token = new_pairs.sum().item() / max(1, num_tokens)
    return ReroutedLayer(name, identity, difference, scale, kept.item(), pairs_per_token)


def _run(layer: MoE, seen: Seen) -> tuple[float, Tensor]:
    """Return the largest difference of a layer's output from what was seen, and its pairs."""
    x, y, scope = seen
    with layer.context.inside(scope):
        difference = (first_tensor(layer.eval()(x)) - y).float().abs().max().item()
    routing, layer.routing, layer.mask = layer.routing, None, None
    assert routing is not None
    return difference, routing.dense()[0].sum(dim=-1) > 0  # [G, T, E]
