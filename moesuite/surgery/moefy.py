"""Model surgery: MoE layers in place of a model's MLPs, with no other change to the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.config.schema import BalanceScope
from moesuite.errors import UserError
from moesuite.models.candidates import Adapter, Candidate, survey
from moesuite.models.example_inputs import default_example, told_of_random_example
from moesuite.models.forward import first_tensor, run_once, without_autocast
from moesuite.models.meta_device import KernelsOfRealDevices
from moesuite.models.mlps.wrapped import refuse_losses
from moesuite.models.selection import Layers, select
from moesuite.nn.beside.parts import Parts
from moesuite.nn.context import RoutingContext
from moesuite.nn.moe import MoE
from moesuite.routers import build_router, router_class
from moesuite.routers.dense import Dense
from moesuite.routing.router import Router
from moesuite.surgery.hooks import attach
from moesuite.surgery.moe_config import MoEConfig


def moefy(
    model: nn.Module,
    router: str = MoEConfig.router,
    num_experts: int = MoEConfig.num_experts,
    layers: Layers = MoEConfig.layers,
    slots_per_token: float | None = MoEConfig.slots_per_token,
    eval_slots_per_token: float | None = MoEConfig.eval_slots_per_token,
    example: Any = None,
    renormalise: bool | None = MoEConfig.renormalise,
    adapter: Adapter | None = None,
    decoder: Mapping[str, Any] | None = MoEConfig.decoder,
    balance_scope: BalanceScope = MoEConfig.balance_scope,
    **options: Any,
) -> nn.Module:
    """Replace MLPs of `model` by MoE layers, in place, and return it.

    Every expert starts as a copy of its MLP, and is frozen if that is; routers are trained.

    Args:
        model: any timm model with MLP blocks: ViT, DeiT, MLP-Mixer, Swin, ConvNeXt, EVA; of Hugging
            Face: GPT-2, LLaMA and relatives, BERT, RoBERTa, T5, ViT, BART, OPT, Whisper, ALBERT.
        router, num_experts, layers, slots_per_token, eval_slots_per_token, renormalise, decoder,
            balance_scope: see `moesuite.surgery.moe_config.MoEConfig`.
        example: an input of the model, from which routers with a fixed number of slots learn the
            number of tokens; None: one image of the size that the model was made for.
        adapter: returns the `moesuite.DenseMLP` of modules that `moesuite.models.mlps` does not
            know, or the `moesuite.SplitMLP` of layers whose MLP it does not; None for all others.
        options: further fields of `MoEConfig` (gate, shared_experts, ...), and the router's own.

    Raises:
        UserError: if nothing can be replaced (lists the candidates), or an option is out of range.

    Example:
        >>> import timm
        >>> model = moefy(timm.create_model("vit_tiny_patch16_224"), router="soft", num_experts=4)
        >>> sum(1 for _ in moe_layers(model))
        6
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
    return replace_mlps(model, config, example, adapter)


@without_autocast()
def replace_mlps(
    model: nn.Module, config: MoEConfig, example: Any = None, adapter: Adapter | None = None
) -> nn.Module:
    """Do what `moefy` does, with the layers of `config`."""
    found = survey(model, adapter)
    is_dense = config.decoder is None and router_class(config.router) is Dense
    if is_dense and not found.known:
        return model  # a dense model that cannot be anything else
    chosen = select(found, config.layers, model)
    del found  # it holds the MLPs, which are to be released one by one
    return replace_chosen(model, chosen, config, example)


def replace_chosen(
    model: nn.Module, chosen: list[Candidate], config: MoEConfig, example: Any = None
) -> nn.Module:
    """Put MoE layers in place of chosen MLPs, and return the model.

    Args:
        model: changed in place.
        chosen: of its MLPs; emptied, so that each is released when its experts are in place.
        config: of the layers, which are `chosen`.
        example: see `moefy`.
    """
    default = config.router, config.options
    decoders = _decoder_router(config.decoder, chosen) or default
    choices = [decoders if in_decoder(candidate.name) else default for candidate in chosen]
    is_sparse = [router_class(name) is not Dense for name, _ in choices]
    chosen[:] = [candidate for candidate, sparse in zip(chosen, is_sparse, strict=True) if sparse]
    choices = [choice for choice, sparse in zip(choices, is_sparse, strict=True) if sparse]
    if not chosen:
        return model
    is_sized = any(router_class(name).sized for name, _ in (default, decoders))
    tokens = _tokens_per_group(model, chosen, example) if is_sized else {}
    routers = _build_routers(config, chosen, choices, tokens)
    return install(model, chosen, routers, [config.parts] * len(routers))


RouterChoice = tuple[str, Mapping[str, Any]]  # name and options


def _build_routers(
    config: MoEConfig,
    chosen: list[Candidate],
    choices: list[RouterChoice],
    tokens: Mapping[str, int],
) -> list[Router]:
    """Build all routers, before the first expert: an error leaves the model as it was."""
    routers = []
    for candidate, (name, options) in zip(chosen, choices, strict=True):
        config.refuse_router(name)
        spec = config.layer_spec(candidate.mlp.up.in_features, tokens.get(candidate.name))
        routers.append(build_router(name, spec, options))
    return routers


def _decoder_router(
    decoder: Mapping[str, Any] | None, chosen: list[Candidate]
) -> RouterChoice | None:
    """Return name and options of the decoder's own router, or None.

    Raises:
        UserError: if it has no name, or no chosen layer is in a decoder.
    """
    if decoder is None:
        return None
    problem = ""
    if "name" not in decoder:
        problem = "its name is missing"
    elif not any(in_decoder(candidate.name) for candidate in chosen):
        problem = "no chosen layer is in a decoder"
    if problem:
        raise UserError(
            f"decoder={dict(decoder)}: {problem}; expected a router for the decoder of an "
            "encoder-decoder, e.g. backbone=t5_mini layers=all "
            "'decoder={name:token_choice,k:2}'"
        )
    return str(decoder["name"]), {key: value for key, value in decoder.items() if key != "name"}


def in_decoder(name: str) -> bool:
    """Return whether a module of this name is in the decoder of an encoder-decoder."""
    return "decoder" in name.split(".")


def install(
    model: nn.Module, chosen: list[Candidate], routers: list[Router], parts: list[Parts]
) -> nn.Module:
    """Replace the `chosen` MLPs by MoE layers with these routers and parts, and return the model.

    One at a time, each MLP released when its experts are in place: there is never a second copy of
    the model in memory. The lists are emptied.

    Raises:
        UserError: before any change, if hooks or adapters of an MLP would be lost.
    """
    for candidate in chosen:
        refuse_losses(model, [candidate.name, *candidate.also])
    context = RoutingContext()
    while chosen:
        _replace(model, chosen.pop(0), routers.pop(0), parts.pop(0), context)
    return attach(model, context)


def _replace(
    model: nn.Module, candidate: Candidate, router: Router, parts: Parts, context: RoutingContext
) -> None:
    layer = parts.layer(router, candidate.mlp, in_decoder(candidate.name))
    put(model, candidate.name, layer, context)
    for name, module in candidate.also.items():
        model.set_submodule(name, module)
    for name, value in candidate.settings.items():
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, value)


def put(model: nn.Module, name: str, layer: MoE, context: RoutingContext) -> None:
    """Put an MoE layer in place of a module, wherever the model has that very module."""
    layer.context = context
    old, places = model.get_submodule(name), list(model.named_modules(remove_duplicate=False))
    for place in [place for place, module in places if module is old]:
        model.set_submodule(place, layer)
    layer.train(model.training)


def _tokens_per_group(model: nn.Module, chosen: list[Candidate], example: Any) -> dict[str, int]:
    """Run the model once and return the number of tokens that each MLP sees.

    Empty if no input of the model is known.
    """
    inputs = default_example(model) if example is None else example
    if inputs is None:
        return {}
    tokens: dict[str, int] = {}
    first = first_tensor(inputs)
    groups = len(first) if first.ndim > 2 or not first.is_floating_point() else 1

    def hook_of(name: str, channels_first: bool) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            tokens[name] = _number_of_tokens(args[0].shape, channels_first, groups)

        return hook

    handles = [
        model.get_submodule(candidate.name).register_forward_pre_hook(
            hook_of(candidate.name, candidate.mlp.channels_first)
        )
        for candidate in chosen
    ]
    here = torch.random.fork_rng(devices=[])
    with here, KernelsOfRealDevices(), told_of_random_example(model, example):
        run_once(model, inputs, handles)
    return tokens


def _number_of_tokens(shape: torch.Size, channels_first: bool, groups: int) -> int:
    """Return T for an input of shape [G, D, ...] (channels first), [G, ..., D] or [G · T, D]."""
    if channels_first:
        return shape[2:].numel()
    return shape[1:-1].numel() if len(shape) > 2 else shape[0] // groups
