"""Sparse upcycling: a dense checkpoint becomes a mixture of experts, with a receipt of what that changed.

Komatsuzaki et al., "Sparse Upcycling: Training Mixture-of-Experts from Dense Checkpoints" (2022),
https://arxiv.org/abs/2212.05055, section 3: half of the MLPs become MoE layers, every expert is an
exact copy of its MLP, the router is new (normal, standard deviation 0.02), all else is kept. Expert
choice with C = 2; for images the combine weights of each token are divided by their sum, so that
the model starts where the dense one stood. Not in the paper: the receipt, which measures where it
starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from moesuite.config.schema import BalanceScope
from moesuite.errors import UserError
from moesuite.models.backbones import load_pretrained
from moesuite.models.candidates import (
    Adapter,
    Candidate,
    Layers,
    candidates,
    looks_like_mlp,
    mixes_tokens,
    select,
)
from moesuite.models.example_inputs import is_text, random_example
from moesuite.models.forward import evaluating, run_once
from moesuite.nn.moe import MoE, moe_layers
from moesuite.nn.stats import weight_sums
from moesuite.records.record import UpcycledLayer
from moesuite.routing.router import Gate
from moesuite.surgery.checkpoint import load_moe
from moesuite.surgery.moefy import begin_routing, moefy
from moesuite.surgery.upcycle_verdict import verdict

STD = 0.02  # of new routers, as in the paper


@dataclass(frozen=True)
class Receipt:
    """What upcycling changed.

    Attributes:
        layers: the new layers, in the model's order.
        parameters_before, parameters_after: of the whole model.
        skipped: name of each MLP that stayed, and why.
        verdict: where the model starts, in words, and what to type.
    """

    layers: list[UpcycledLayer]
    parameters_before: int
    parameters_after: int
    skipped: Mapping[str, str]
    verdict: str

    def __str__(self) -> str:
        """Return a line for each layer, one for all, and the verdict."""
        width = max(
            [len(name) for name in (*self.skipped, *(row.layer for row in self.layers))], default=0
        )
        rows = [
            f"{row.layer:{width}}  |dense - MoE| {row.difference:.2e}, of served tokens {row.served_difference:.2e} "
            f"(|dense| {row.scale:.2e}), {row.unserved:.1%} unserved"
            for row in self.layers
        ]
        rows += [f"{name:{width}}  stays: {why}" for name, why in self.skipped.items()]
        rows.append(f"{self.parameters_before:,} -> {self.parameters_after:,} parameters")
        return "\n".join([*rows, *filter(None, [self.verdict])])


class Seen(NamedTuple):
    """What an MLP was given and answered, in the shape that its model uses."""

    x: Tensor
    y: Tensor


def upcycle(
    model: nn.Module | str,
    router: str = "token_choice",
    num_experts: int = 8,
    layers: Layers = "last_half",
    slots_per_token: float = 1.0,
    eval_slots_per_token: float | None = None,
    router_std: float = STD,
    expert_noise: float = 0.0,
    renormalise: bool | None = None,
    example: Any = None,
    adapter: Adapter | None = None,
    decoder: Mapping[str, Any] | None = None,
    balance_scope: BalanceScope = "global",
    **router_options: Any,
) -> tuple[nn.Module, Receipt]:
    """Make MoE layers of the MLPs of a trained model, in place; see `moesuite.moefy`.

    Defaults are those of `moefy` and of the command line, so that what is upcycled has the same
    experts as what is not. The recipe of the paper: upcycle(model, "expert_choice", 32,
    "every_other", 2.0); it looks ahead, on text too.

    Args:
        model: trained, of timm or Hugging Face, or with MLPs that `adapter` takes apart; or the
            name of one: `timm:<pretrained name>`, `hf:<local folder or hub id>`; or the checkpoint
            of a dense run.
        router, num_experts, layers, slots_per_token, eval_slots_per_token, balance_scope,
            router_options: as for `moefy`.
        router_std: standard deviation of the weights of routers with a linear gate, >= 0.
        expert_noise: standard deviation of the noise on the experts' weights, >= 0; 0: exact
            copies.
        renormalise: divide the combine weights of each token by their sum; None: for models of
            images only, as it hurts language in the paper.
        example: an input of the model, for the receipt; None: random images or tokens, always the
            same.
        adapter, decoder: as for `moefy`; the paper's T5: expert choice, decoder={"name":
            "token_choice", "k": 2}.

    Returns:
        The model, and the receipt.

    Raises:
        UserError: if nothing can be loaded or replaced, for an option out of range, or where an
            example is missing.
    """
    _check(router_std, expert_noise)
    model = _load(model) if isinstance(model, str) else model
    images, given = not is_text(model), example
    example = random_example(model) if given is None else given
    tokens = example if images else given  # a random text has no true length
    found = candidates(model, adapter)
    chosen = select(found, layers, model)
    names = [candidate.name for candidate in chosen]
    seen = _observe(model, chosen, example)
    before, skipped = _size(model), _skipped(model, found, names)
    del found, chosen  # they hold the MLPs, which are to be forgotten one by one
    renormalise = images if renormalise is None else renormalise
    router_options["balance_scope"] = balance_scope
    budget = slots_per_token, eval_slots_per_token
    model = moefy(
        model,
        router,
        num_experts,
        names,
        *budget,
        tokens,
        renormalise,
        adapter,
        decoder,
        **router_options,
    )
    new = [
        (name, layer) for name, layer in moe_layers(model) if name in seen
    ]  # none for the router "dense"
    for _, layer in new:
        _initialise(layer, router_std, expert_noise)
    rows = [_compare(name, layer, model, example, seen[name]) for name, layer in new]
    return model, Receipt(
        rows, before, _size(model), skipped, verdict(rows, renormalise, expert_noise)
    )


def _load(name: str) -> nn.Module:
    """Load a pretrained model by its name, or the model of a run by its checkpoint."""
    if not Path(name).expanduser().is_file():
        return load_pretrained(name)
    if list(moe_layers(model := load_moe(name))):
        raise UserError(
            f"{name}: this model has MoE layers; allowed: a dense one, as a run of router=dense leaves behind"
        )
    return model


def _check(router_std: float, expert_noise: float) -> None:
    for name, value in (("router_std", router_std), ("expert_noise", expert_noise)):
        if value < 0:
            raise UserError(f"{name}={value}: allowed is 0 or more; type for example {name}={STD}")


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _skipped(model: nn.Module, found: list[Candidate], chosen: list[str]) -> dict[str, str]:
    """Return every MLP that stays, and why."""
    known = [candidate.name for candidate in found]
    reasons = {name: "not among the chosen layers" for name in known if name not in chosen}
    for name, module in model.named_modules():
        inside = any(f"{name}.".startswith(f"{other}.") for other in known)
        around = any(other.startswith(f"{name}." if name else "") for other in known)
        if looks_like_mlp(module) and not inside and not around:
            reasons[name] = (
                "mixes tokens" if mixes_tokens(name) else f"no adapter for {type(module).__name__}"
            )
    return reasons


def _keep(
    where: dict[str, Tensor], name: str, _: nn.Module, args: tuple[Tensor, ...], *output: Tensor
) -> None:
    """Hook: keep what a module puts out, or before it runs what it is given."""
    where[name] = output[0] if output else args[0]


def _observe(model: nn.Module, chosen: list[Candidate], example: Any) -> dict[str, Seen]:
    """Run the dense model once, and keep what goes into each MLP and what comes out."""
    given: dict[str, Tensor] = {}
    answered: dict[str, Tensor] = {}
    handles = []
    for candidate in chosen:
        first, last = model.get_submodule(candidate.name), model.get_submodule(candidate.last)
        handles.append(first.register_forward_pre_hook(partial(_keep, given, candidate.name)))
        handles.append(last.register_forward_hook(partial(_keep, answered, candidate.name)))
    run_once(model, example, handles)
    return {
        candidate.name: Seen(given[candidate.name], answered[candidate.name])
        for candidate in chosen
    }


@torch.no_grad()
def _initialise(layer: MoE, router_std: float, expert_noise: float) -> None:
    """Draw the router's gate anew where its deviation is not that of the paper, and let the experts differ."""
    for module in layer.router.modules():
        if isinstance(module, Gate) and router_std != STD:
            nn.init.normal_(module.weight, std=router_std)
    for parameter in layer.experts.parameters() if expert_noise else ():
        parameter.add_(torch.randn_like(parameter), alpha=expert_noise)


@torch.no_grad()
def _compare(name: str, layer: MoE, model: nn.Module, example: Any, seen: Seen) -> UpcycledLayer:
    """Give an MoE layer what its MLP was given."""
    with evaluating(model):
        begin_routing(layer.context, model, example if isinstance(example, dict) else {})
        apart = (layer(seen.x) - seen.y).float().abs()
    layer.context.end()
    routing, layer.routing = layer.routing, None
    assert routing is not None
    experts = routing.experts_per_token().flatten().to(apart.device)
    weights = weight_sums(routing).flatten().to(apart.device)
    mask = layer.side.mask
    real = torch.ones_like(experts, dtype=torch.bool) if mask is None else mask.flatten()
    width = 1 if layer.channels_first else -1
    return _row(
        name,
        apart.amax(dim=width).flatten(),
        experts,
        weights,
        real,
        seen.y.float().abs().max().item(),
    )


def _row(
    name: str,
    apart: Float[Tensor, " N"],
    experts: Float[Tensor, " N"],
    weights: Float[Tensor, " N"],
    real: Bool[Tensor, " N"],
    scale: float,
) -> UpcycledLayer:
    """Return the row of a layer, from the difference, number of experts and sum of weights of each token."""

    def most(values: Tensor, tokens: Tensor) -> float:
        return values[tokens].max().item() if bool(tokens.any()) else 0.0

    served = real & (experts > 0)
    unserved = (real & ~served).sum() / real.sum().clamp(min=1)
    return UpcycledLayer(
        layer=name,
        difference=most(apart, real),
        served_difference=most(apart, served),
        scale=scale,
        unserved=unserved.item(),
        weights=weights[served].mean().item() if bool(served.any()) else None,
        experts=round(most(experts, served)),
    )
