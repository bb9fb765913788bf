"""Sparse upcycling: a dense checkpoint becomes a mixture of experts, with a receipt of the change.

Komatsuzaki et al., "Sparse Upcycling: Training Mixture-of-Experts from Dense Checkpoints" (2022),
https://arxiv.org/abs/2212.05055, section 3: half of the MLPs become MoE layers, every expert is an
exact copy of its MLP, the router is new (normal, standard deviation 0.02), all else is kept. Expert
choice with C = 2; for images the combine weights of each token are divided by their sum, so that
the model starts as the dense one. Not in the paper: the receipt, which measures where it starts;
and that, with shared experts, routed and shared ones each give half of the MLP's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.config.options import as_path
from moesuite.config.schema import BalanceScope
from moesuite.errors import UserError
from moesuite.models.backbones import load_pretrained
from moesuite.models.candidates import Adapter, Candidate, survey
from moesuite.models.example_inputs import is_text, random_example, told_of_random_example
from moesuite.models.forward import run_once, without_autocast
from moesuite.models.selection import Layers, select
from moesuite.nn.beside.parts import halve
from moesuite.nn.context import RoutingContext, Scope
from moesuite.nn.moe import MoE, moe_layers
from moesuite.routing.router import Gate
from moesuite.surgery.checkpoint import load_moe
from moesuite.surgery.hooks import follow
from moesuite.surgery.moe_config import MoEConfig
from moesuite.surgery.moefy import replace_chosen
from moesuite.surgery.upcycle_receipt import (
    DenseForward,
    Receipt,
    compare,
    parameter_count,
    skipped_mlps,
    verdict,
)

STD = 0.02  # of new routers, as in the paper


def upcycle(
    model: nn.Module | str,
    router: str = MoEConfig.router,
    num_experts: int = MoEConfig.num_experts,
    layers: Layers = MoEConfig.layers,
    slots_per_token: float | None = MoEConfig.slots_per_token,
    eval_slots_per_token: float | None = MoEConfig.eval_slots_per_token,
    router_std: float = STD,
    expert_noise: float = 0.0,
    renormalise: bool | None = MoEConfig.renormalise,
    example: Any = None,
    adapter: Adapter | None = None,
    decoder: Mapping[str, Any] | None = MoEConfig.decoder,
    balance_scope: BalanceScope = MoEConfig.balance_scope,
    **options: Any,
) -> tuple[nn.Module, Receipt]:
    """Turn MLPs of a trained model into MoE layers, in place; see `moesuite.moefy`.

    The paper's recipe: upcycle(model, "expert_choice", 32, "every_other", 2.0), which looks ahead,
    on text too; for T5 with decoder={"name": "token_choice", "k": 2}.

    Args:
        model: trained, of timm or Hugging Face, or with MLPs that `adapter` knows; or the name of
            one: `timm:<pretrained name>`, `hf:<local folder or hub id>`; or the checkpoint of a
            dense run.
        router, num_experts, layers, slots_per_token, eval_slots_per_token, renormalise, decoder,
            balance_scope: see `moesuite.surgery.moe_config.MoEConfig`.
        router_std: standard deviation of the weights of routers with a linear gate, >= 0.
        expert_noise: standard deviation of noise on the experts' weights, >= 0; 0: exact copies.
        example: input of the model, for the receipt; None: random ones, always the same.
        adapter, options: as for `moefy`.

    Returns:
        The model, and the receipt.

    Raises:
        UserError: if nothing can be loaded or replaced, or for an option out of range.
    """
    config = MoEConfig.of_arguments(
        options,
        router=router,
        num_experts=num_experts,
        layers=layers,
        slots_per_token=slots_per_token,
        eval_slots_per_token=eval_slots_per_token,
        renormalise=renormalise,
        decoder=decoder,
        balance_scope=balance_scope,
    )
    return upcycle_mlps(model, config, example, adapter, router_std, expert_noise)


@without_autocast()
def upcycle_mlps(
    model: nn.Module | str,
    config: MoEConfig,
    example: Any = None,
    adapter: Adapter | None = None,
    router_std: float = STD,
    expert_noise: float = 0.0,
) -> tuple[nn.Module, Receipt]:
    """Do what `upcycle` does, with the layers of `config`."""
    _check_deviation("router_std", router_std)
    _check_deviation("expert_noise", expert_noise)
    model = _load(model) if isinstance(model, str) else model
    is_vision = not is_text(model)
    inputs = random_example(model) if example is None else example
    found = survey(model, adapter)
    chosen = select(found, config.layers, model)
    names = [candidate.name for candidate in chosen]
    with told_of_random_example(model, example):
        observed = _observe(model, chosen, inputs)
    size_before = parameter_count(model)
    skipped = skipped_mlps(model, found, names)
    del found  # it holds the MLPs, which are to be released one by one
    if config.renormalise is None:
        config = replace(config, renormalise=is_vision and not config.dense_gradient)
    # a random text has no true length
    model = replace_chosen(model, chosen, config, inputs if is_vision else example)
    # none for the router "dense"
    new = [(name, layer) for name, layer in moe_layers(model) if name in names]
    for _, layer in new:
        halve(layer)
    layers = [(name, layer) for name, layer in new if name in observed]
    for _, layer in layers:
        _initialise(layer, router_std, expert_noise)
    rows = [compare(name, layer, model, observed[name]) for name, layer in layers]
    return model, Receipt(
        layers=rows,
        parameters_before=size_before,
        parameters_after=parameter_count(model),
        skipped=skipped,
        verdict=verdict(rows, config.parts, expert_noise),
    )


def _load(name: str) -> nn.Module:
    """Load a pretrained model by its name, or the model of a run by its checkpoint."""
    if not as_path(name).is_file():
        return load_pretrained(name)
    model = load_moe(name)
    if list(moe_layers(model)):
        raise UserError(
            f"{name}: this model has MoE layers; expected a dense one, as a run with router=dense "
            "writes"
        )
    return model


def _check_deviation(name: str, value: float) -> None:
    if value < 0:
        raise UserError(f"{name}={value}: expected 0 or more, e.g. {name}={STD}")


def _observe(model: nn.Module, chosen: list[Candidate], example: Any) -> dict[str, DenseForward]:
    """Run the dense model once, and return the inputs and outputs of each MLP."""
    inputs: dict[str, tuple[Tensor, Scope | None]] = {}
    outputs: dict[str, Tensor] = {}
    context = RoutingContext()
    handles = follow(model, (candidate.name for candidate in chosen), context)
    for candidate in chosen:
        first, last = model.get_submodule(candidate.name), model.get_submodule(candidate.last)
        store_input = partial(_store_input, inputs, context, candidate.name)
        store_output = partial(_store_output, outputs, candidate.name)
        handles.append(first.register_forward_pre_hook(store_input))
        handles.append(last.register_forward_hook(store_output))
    run_once(model, example, handles)
    called = {name: seen for name, seen in inputs.items() if seen[0].numel()}
    return {name: DenseForward(x, outputs[name], scope) for name, (x, scope) in called.items()}


def _store_input(
    inputs: dict[str, tuple[Tensor, Scope | None]],
    context: RoutingContext,
    name: str,
    _: nn.Module,
    args: tuple[Tensor, ...],
) -> None:
    """Pre-hook: store the input of a module, and the scope that it is called in."""
    inputs[name] = args[0], context.scope


def _store_output(outputs: dict[str, Tensor], name: str, *call: Any) -> None:
    """Hook: store the output of a module, the last argument."""
    outputs[name] = call[-1]


@torch.no_grad()
def _initialise(layer: MoE, router_std: float, expert_noise: float) -> None:
    """Redraw the router's gate for a deviation other than the paper's, and add noise to experts."""
    for module in layer.router.modules():
        if isinstance(module, Gate) and router_std != STD:
            nn.init.normal_(module.weight, std=router_std)
    for parameter in layer.experts.parameters() if expert_noise else ():
        parameter.add_(torch.randn_like(parameter), alpha=expert_noise)
