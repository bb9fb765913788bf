"""Receipt of an upcycled model: how far each new layer is from its MLP on one input, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from moesuite.models.candidates import Survey, looks_like_mlp, mixes_tokens
from moesuite.models.forward import evaluating
from moesuite.nn.beside.parts import Parts
from moesuite.nn.context import Scope
from moesuite.nn.moe import MoE
from moesuite.nn.stats import count_layer, health
from moesuite.records.record import UpcycledLayer

SAME = 0.01  # of the largest dense output: room for weights in bfloat16
TYPED = "type renormalise=true (renormalise=True in Python)"


@dataclass(frozen=True)
class Receipt:
    """What upcycling changed.

    Attributes:
        layers: the new layers, in the model's order.
        parameters_before, parameters_after: of the whole model.
        skipped: name of each MLP that was not replaced, and why.
        verdict: where the model starts, in words, and what to type.
    """

    layers: list[UpcycledLayer]
    parameters_before: int
    parameters_after: int
    skipped: Mapping[str, str]
    verdict: str

    def __str__(self) -> str:
        """Return a line for each layer, one for all, and the verdict."""
        names = [*self.skipped, *(row.layer for row in self.layers)]
        width = max(map(len, names), default=0)
        lines = [
            f"{row.layer:{width}}  |dense - MoE| {row.difference:.2e}, of served tokens "
            f"{row.served_difference:.2e} (|dense| {row.scale:.2e}), {row.unserved:.1%} unserved"
            for row in self.layers
        ]
        lines += [
            f"{name:{width}}  not replaced: {reason}" for name, reason in self.skipped.items()
        ]
        lines.append(f"{self.parameters_before:,} -> {self.parameters_after:,} parameters")
        return "\n".join([*lines, *filter(None, [self.verdict])])


class DenseForward(NamedTuple):
    """Input and output of an MLP, in the shape that its model uses, and the scope of the call."""

    x: Tensor
    y: Tensor
    scope: Scope | None


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def skipped_mlps(model: nn.Module, found: Survey, chosen: list[str]) -> dict[str, str]:
    """Return every MLP that is not replaced, and why.

    Args:
        model: the dense model.
        found: the survey of its MLPs.
        chosen: names of those that are.
    """
    names = [*(candidate.name for candidate in found.known), *found.refused]
    reasons = {
        name: found.refused.get(name, found.aside.get(name, "not among the chosen layers"))
        for name in names
        if name not in chosen
    }
    parts = [*names, *(candidate.last for candidate in found.known)]
    for name, module in model.named_modules():
        inside = any(f"{name}.".startswith(f"{other}.") for other in parts)
        around = any(other.startswith(f"{name}." if name else "") for other in parts)
        if looks_like_mlp(module) and not inside and not around:
            reasons[name] = (
                "mixes tokens" if mixes_tokens(name) else f"no adapter for {type(module).__name__}"
            )
    return reasons


@torch.no_grad()
def compare(name: str, layer: MoE, model: nn.Module, dense: DenseForward) -> UpcycledLayer:
    """Run an MoE layer on the input of its MLP, and compare the outputs.

    Args:
        name: of the layer.
        layer: in `model`.
        model: with the layer.
        dense: a call of the MLP.
    """
    with evaluating(model), layer.context.inside(dense.scope):
        differences = (layer(dense.x) - dense.y).float().abs()
    assert layer.routing is not None
    routing, null_share = layer.executed(layer.routing), health(count_layer(layer)).null_share
    mask, layer.routing, layer.mask = layer.mask, None, None
    experts = routing.experts_per_token().flatten().to(differences.device)
    row = _row(
        name,
        differences.amax(dim=1 if layer.channels_first else -1).flatten(),
        experts,
        routing.token_weights().sum(dim=-1).flatten().to(differences.device),
        torch.ones_like(experts, dtype=torch.bool) if mask is None else mask.flatten(),
        dense.y.float().abs().max().item(),
    )
    return row.model_copy(update={"null_share": null_share})


def _row(
    name: str,
    differences: Float[Tensor, " N"],
    experts: Float[Tensor, " N"],
    weights: Float[Tensor, " N"],
    real: Bool[Tensor, " N"],
    scale: float,
) -> UpcycledLayer:
    """Return a layer's row from each token's difference, number of experts and sum of weights."""
    served = real & (experts > 0)
    unserved = (real & ~served).sum() / real.sum().clamp(min=1)
    return UpcycledLayer(
        layer=name,
        difference=_largest(differences, real),
        served_difference=_largest(differences, served),
        scale=scale,
        unserved=unserved.item(),
        weights=weights[served].mean().item() if bool(served.any()) else None,
        experts=round(_largest(experts, served)),
    )


def _largest(values: Float[Tensor, " N"], tokens: Bool[Tensor, " N"]) -> float:
    """Return the largest value of the tokens that `tokens` selects; 0 if it selects none."""
    return values[tokens].max().item() if bool(tokens.any()) else 0.0


def verdict(layers: Sequence[UpcycledLayer], parts: Parts, expert_noise: float = 0.0) -> str:
    """Return where a model with these layers starts; empty without layers.

    Args:
        layers: receipts of the new layers.
        parts: of the new layers.
        expert_noise: standard deviation of the noise on the experts' weights, >= 0.
    """
    if not layers:
        return ""
    text = _start(max(layers, key=_relative_difference), parts, expert_noise)
    unserved = fmean(layer.unserved for layer in layers)
    null_share = fmean(layer.null_share for layer in layers)
    if null_share:
        text += (
            f"; null experts get {null_share:.1%} of the choices, and give another output than the "
            f"MLP; {unserved:.1%} of the tokens have no other expert; type null_experts=0 to start "
            "closer"
        )
    elif unserved:
        instead = "half of the MLP's output" if parts.shared_experts else "nothing"
        text += (
            f"; {unserved:.1%} of the tokens have no expert, and {instead} in its place; "
            "type a larger slots_per_token"
        )
    if parts.renormalise and all(layer.experts == 1 for layer in layers):
        text += (
            "; one expert a token has weight 1 whatever the router says: it learns by its "
            "auxiliary loss alone, type router.k=2 (k=2 in Python) where the router has it"
        )
    return text


def _start(worst: UpcycledLayer, parts: Parts, expert_noise: float) -> str:
    """Return how far the layer that differs most is from its MLP, and why."""
    difference = _relative_difference(worst)
    if difference <= SAME:
        return f"starts at the dense model (largest difference {difference:.1e} of its answers)"
    start = (
        f"starts off by {difference:.0%} "
        f"({worst.layer}: |difference| {worst.served_difference:.3g} of {worst.scale:.3g})"
    )
    if expert_noise:
        return f"{start}, by noise on the experts; type expert_noise=0"
    if parts.dense_gradient:
        return f"{start}: the outputs of missing experts start at 0"
    if parts.renormalise and worst.null_share:
        return f"{start}: null experts give other outputs"
    if parts.renormalise or worst.weights is None or abs(worst.weights - 1) <= SAME:
        return f"{start}: experts get mixtures of tokens, or weights do not sum to 1"
    return f"{start}: combine weights sum to {worst.weights:.2f}; {TYPED}"


def _relative_difference(layer: UpcycledLayer) -> float:
    return layer.served_difference / max(layer.scale, 1e-12)
