"""Rerouting: another router in a trained mixture of experts, without training and without copying a weight.

Do, Le and Tran, "Sparse Mixture of Experts as Unified Competitive Learning" (2025),
https://arxiv.org/abs/2503.22996: the trained gate gives the logits, another rule decides; experts,
shared ones included, stay as they are. Not in the paper: the identity check. Each layer is rebuilt
with the model's own rule first and has to answer as before.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.config.discovery import router_names
from moesuite.config.schema import BalanceScope
from moesuite.errors import UserError, unknown
from moesuite.models.candidates import looks_like_mlp
from moesuite.models.example_inputs import random_example
from moesuite.models.forward import run_once
from moesuite.models.hf_moe import OWN, Block, OriginalRouter, blocks, normalises
from moesuite.nn.experts import FusedExperts
from moesuite.nn.moe import MoE, RoutingContext
from moesuite.routers import build_router, router_class
from moesuite.routing.router import Gate, LayerSpec, Router
from moesuite.surgery.moefy import attach, begin_routing, put

TOLERANCE = (
    0.02  # of the identity check, relative to the largest answer: room for weights in bfloat16
)


@dataclass(frozen=True)
class ReroutedLayer:
    """One layer on the example, in evaluation; differences are the largest absolute ones of an output.

    Attributes:
        layer: name of the module.
        identity: difference of the rebuilt layer with the model's own rule: 0 but for rounding.
        difference: of the layer with the new router.
        scale: largest absolute output of the model's own layer.
        kept: share of the (token, expert) pairs of the own rule that the new router serves too, in
            [0, 1].
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
            f"{self.layer}  own rule {self.identity:.2e} apart, new router {self.difference:.2e} (|own| "
            f"{self.scale:.2e}); keeps {self.kept:.1%} of the pairs, {self.pairs_per_token:.2f} experts per token"
        )


def reroute(
    model: nn.Module,
    router: str = "usmoe",
    slots_per_token: float | None = None,
    eval_slots_per_token: float | None = None,
    layers: list[str] | None = None,
    example: Any = None,
    balance_scope: BalanceScope = "global",
    **router_options: Any,
) -> tuple[nn.Module, list[ReroutedLayer]]:
    """Replace the routers of a trained MoE model of Hugging Face, in place. No weight is copied or changed.

    Args:
        model: OLMoE, Mixtral, Qwen2-MoE, Qwen3-MoE, DeepSeek V2 or V3.
        router: name of a router whose only weights are a linear gate, or that has none; "own": the
            model's rule.
        slots_per_token: expert work per token, in (0, E]; None: as many experts per token as the
            model has.
        eval_slots_per_token: the same in evaluation; see `moesuite.moefy`.
        layers: names of modules; None: all MoE layers.
        example: keyword arguments of the model, for the check; None: random tokens, always the
            same.
        balance_scope: see `moesuite.moefy`.
        router_options: the router's own parameters; `k` is the model's own unless it is given.

    Returns:
        The model, and what each layer says on the example.

    Raises:
        UserError: for a model without MoE layers that can be read, a router that needs weights that
            the model lacks, or layers that do not answer as before under their own rule.
    """
    found = chosen_blocks(model, layers)
    specs = [_spec(block, slots_per_token, eval_slots_per_token, balance_scope) for block in found]
    routers = [
        _router(router, block, spec, router_options)
        for block, spec in zip(found, specs, strict=True)
    ]
    example = random_example(model) if example is None else example
    seen = _observe(model, found, example)
    context = RoutingContext()
    begin_routing(context, model, example if isinstance(example, dict) else {})
    rows, new = [], dict[str, MoE]()
    for block, chosen in zip(found, routers, strict=True):
        own = rerouted(block, OriginalRouter(chosen.spec, block.gate))
        renormalise = normalises(block) and chosen.name != OWN and "normalise" not in chosen.options
        new[block.name] = rerouted(block, chosen, renormalise)
        rows.append(_compare(block.name, own, new[block.name], context, *seen.pop(block.name)))
    for (
        name,
        layer,
    ) in (
        new.items()
    ):  # none before all of them have answered as they did: an error leaves the model whole
        put(model, name, layer, context)
    context.end()
    config: Any = getattr(model, "config", None)
    if getattr(config, "output_router_logits", False):
        config.output_router_logits = False  # the loss on them reads gates that are no longer there
    return attach(model, context), rows


def chosen_blocks(model: nn.Module, layers: list[str] | None = None) -> list[Block]:
    """Return the MoE layers to reroute.

    Raises:
        UserError: if there is none, or none of a given name.
    """
    found = {block.name: block for block in blocks(model)}
    if not found:
        alike = sorted(
            {type(m).__name__ for m in model.modules() if "moe" in type(m).__name__.lower()}
        )
        dense = any(looks_like_mlp(module) for module in model.modules()) and not alike
        raise UserError(
            f"{type(model).__name__} has no MoE layers that can be rerouted"
            + (
                ": it is dense; type moesuite.upcycle(model) to make a mixture of experts of it"
                if dense
                else ""
            )
            + (f"; modules that have no adapter: {', '.join(alike)}" if alike else "")
            + "; allowed: OLMoE, Mixtral, Qwen2-MoE, Qwen3-MoE, DeepSeek V2 and V3 of transformers"
        )
    for name in layers or ():
        if name not in found:
            raise unknown("MoE layer", name, found, f"layers=[{next(iter(found))!r}]")
    return [block for name, block in found.items() if layers is None or name in layers]


def _spec(
    block: Block,
    slots_per_token: float | None,
    eval_slots_per_token: float | None,
    balance_scope: BalanceScope,
) -> LayerSpec:
    num_experts, _, dim = block.experts.gate_up_proj.shape
    budget = float(block.k) if slots_per_token is None else slots_per_token
    return LayerSpec(dim, num_experts, budget, eval_slots_per_token, balance_scope=balance_scope)


def _router(name: str, block: Block, spec: LayerSpec, options: dict[str, Any]) -> Router:
    """Build the new router around the model's gate, whose weight it shares."""
    if name == OWN:
        return OriginalRouter(spec, block.gate)
    parameters = inspect.signature(router_class(name).__init__).parameters
    own = {"k": block.k, "normalise": normalises(block)}
    router = build_router(name, spec, {key: own[key] for key in own if key in parameters} | options)
    gate = getattr(router, "gate", None)
    if isinstance(gate, Gate):
        gate.weight = block.gate.weight
    if name == "dense" or any(
        parameter is not block.gate.weight for parameter in router.parameters()
    ):
        unfit = ("soft", "cosine", "dense", "noisy_topk")
        raise UserError(
            f"router={name}: it needs weights of its own beside a trained gate [E, D], or has no experts to choose; "
            f"allowed: {OWN}, {', '.join(n for n in router_names() if n not in unfit)}; type for example router=usmoe"
        )
    if hasattr(router, "bias") and hasattr(block.gate, "e_score_correction_bias"):
        router.bias = block.gate.e_score_correction_bias
    return router


def rerouted(block: Block, router: Router, renormalise: bool = False) -> MoE:
    """Return the layer that stands in the place of a block. The own rule scales its weights itself."""
    experts = FusedExperts(block.experts, 1.0 if router.name == OWN else block.scale)
    layer = MoE(router, experts, renormalise=renormalise, shared=block.shared)
    return layer.to(block.experts.down_proj.device)


def _observe(
    model: nn.Module, found: list[Block], example: Any
) -> dict[str, tuple[Tensor, Tensor]]:
    """Run the model as it is once, and keep what each MoE layer was given and answered."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    for block in found:

        def keep(_: nn.Module, args: tuple[Tensor, ...], y: Tensor, name: str = block.name) -> None:
            seen[name] = args[0], y

        handles.append(model.get_submodule(block.name).register_forward_hook(keep))
    run_once(model, example, handles)
    return seen


@torch.no_grad()
def _compare(
    name: str, own: MoE, new: MoE, context: RoutingContext, x: Tensor, y: Tensor
) -> ReroutedLayer:
    """Give both layers what the model's own was given.

    Raises:
        UserError: where the own rule does not answer as the model did.
    """
    served, apart = [], []
    for layer in (own, new):
        layer.context = context
        apart.append((layer.eval()(x) - y).float().abs().max().item())
        assert layer.routing is not None
        served.append(layer.routing.dense()[0].sum(dim=-1) > 0)  # [G, T, E]
        layer.routing = None
    scale, tokens = y.float().abs().max().item(), served[0].any(dim=-1).sum().item()
    if not apart[0] <= TOLERANCE * scale:  # not a number is not the same
        raise UserError(
            f"{name}: rebuilt with its own rule it answers {apart[0]:.2e} apart (largest answer {scale:.2e}), so this "
            "model routes in a way that is not known here; allowed: layers without jitter or rules beside the gate"
        )
    kept = (served[0] & served[1]).sum() / served[0].sum().clamp(min=1)
    return ReroutedLayer(
        name, apart[0], apart[1], scale, kept.item(), served[1].sum().item() / max(1, tokens)
    )
