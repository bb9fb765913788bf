"""Model surgery: MoE layers in the place of a model's MLPs, with no other change to the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.config.schema import BalanceScope
from moesuite.errors import UserError
from moesuite.models.candidates import Adapter, Candidate, Layers, candidates, select
from moesuite.models.example_inputs import default_example
from moesuite.models.forward import is_encoder_decoder, run_once
from moesuite.models.meta_device import KernelsOfRealDevices
from moesuite.nn.experts import Experts
from moesuite.nn.moe import MoE, RoutingContext, Side
from moesuite.routers import build_router, router_class
from moesuite.routers.dense import Dense
from moesuite.routing.router import LayerSpec, Router
from moesuite.surgery.checkpoint_format import describe


def moefy(
    model: nn.Module,
    router: str = "token_choice",
    num_experts: int = 8,
    layers: Layers = "last_half",
    slots_per_token: float = 1.0,
    eval_slots_per_token: float | None = None,
    example: Any = None,
    renormalise: bool = False,
    adapter: Adapter | None = None,
    decoder: Mapping[str, Any] | None = None,
    balance_scope: BalanceScope = "global",
    **router_options: Any,
) -> nn.Module:
    """Replace MLPs of `model` by MoE layers, in place, and return it. Every expert starts as a copy of its MLP.

    Args:
        model: any timm model with MLP blocks: ViT, DeiT, MLP-Mixer, Swin, ConvNeXt, EVA; of Hugging
            Face's: GPT-2, LLaMA and its kin, BERT, RoBERTa, T5, ViT.
        router: a router's name, or `module.or.file:Class` outside the package; "dense" changes
            nothing.
        num_experts: experts E of each layer, >= 1.
        layers: "last_half" (Soft MoE), "every_other" (V-MoE: second, fourth, ...), "all",
            "last_two", indices among the candidates (negative from the end), or names of modules.
        slots_per_token: expert work per token relative to the MLP, E·C/T, in (0, E]. Token choice:
            K times the capacity factor; expert choice: the capacity factor; Soft MoE: slots over
            tokens.
        eval_slots_per_token: the same in evaluation; None: as in training, without limit for
            routers that drop.
        example: an input of the model, from which routers with a fixed number of slots learn the
            number of tokens; None: one image of the size that the model was made for.
        renormalise: divide the combine weights of each token by their sum, as `moesuite.upcycle`
            does for images.
        adapter: takes modules of the model apart that no form of `moesuite.models.mlps` knows; None
            for all others.
        decoder: another router for the layers of a decoder beside an encoder: its `name`, and
            options of its own.
        balance_scope: over which tokens balance losses and running statistics are taken in
            training: "global", the batch on all processes; "local", this process's share;
            "sequence", each group; see `moesuite.routing.scope`.
        router_options: the router's own parameters.

    Raises:
        UserError: if nothing can be replaced (lists the candidates), or an option is out of range.

    Example:
        >>> import timm
        >>> model = moefy(timm.create_model("vit_tiny_patch16_224"), router="soft", num_experts=4)
        >>> sum(1 for _ in moe_layers(model))
        6
    """
    if decoder is None and router_class(router) is Dense and not candidates(model, adapter):
        return model  # a dense model that can be nothing else
    # no second name for the candidates: each would keep its MLP in memory
    chosen = select(candidates(model, adapter), layers, model)
    kinds = {
        False: (router, router_options),
        True: _decoders_router(decoder, chosen) or (router, router_options),
    }
    chosen = [
        candidate
        for candidate in chosen
        if router_class(kinds[in_decoder(candidate.name)][0]) is not Dense
    ]
    if not chosen:
        return model
    sized = any(router_class(name).sized for name, _ in kinds.values())
    tokens = _tokens_per_group(model, chosen, example) if sized else {}
    # all are built before the first expert is made: an error leaves the model as it was
    routers = []
    for candidate in chosen:
        width, length = candidate.mlp.up.in_features, tokens.get(candidate.name)
        spec = LayerSpec(
            width, num_experts, slots_per_token, eval_slots_per_token, length, balance_scope
        )
        routers.append(
            build_router(
                kinds[in_decoder(candidate.name)][0], spec, kinds[in_decoder(candidate.name)][1]
            )
        )
    return install(model, chosen, routers, renormalise)


def _decoders_router(
    decoder: Mapping[str, Any] | None, chosen: list[Candidate]
) -> tuple[str, dict[str, Any]] | None:
    """Return name and options of the decoder's own router, None for none.

    Raises:
        UserError: if it has no name, or no chosen layer stands in a decoder.
    """
    if decoder is None:
        return None
    if "name" not in decoder or not any(in_decoder(candidate.name) for candidate in chosen):
        why = (
            "its name is missing"
            if "name" not in decoder
            else "no chosen layer stands in a decoder"
        )
        raise UserError(
            f"decoder={dict(decoder)}: {why}; allowed: a router beside an encoder-decoder; type for example "
            "backbone=t5_mini layers=all 'decoder={name:token_choice,k:2}'"
        )
    return str(decoder["name"]), {key: value for key, value in decoder.items() if key != "name"}


def in_decoder(name: str) -> bool:
    """Return whether a module of this name stands in the decoder of an encoder-decoder."""
    return "decoder" in name.split(".")


def install(
    model: nn.Module, chosen: list[Candidate], routers: list[Router], renormalise: bool
) -> nn.Module:
    """Put MoE layers with these routers in the places of the `chosen` MLPs, which are forgotten, and return the model.

    One by one, each MLP forgotten where its experts stand: no second copy of the model in memory.
    """
    context = RoutingContext()
    while chosen:
        _replace(model, chosen.pop(0), routers.pop(0), renormalise, context)
    return attach(model, context)


def _replace(
    model: nn.Module, old: Candidate, router: Router, renormalise: bool, context: RoutingContext
) -> None:
    """Put an MoE layer in the place of an MLP."""
    experts = Experts(old.mlp, router.spec.num_experts)
    layer = MoE(router, experts, old.mlp.channels_first, in_decoder(old.name), renormalise)
    weight = old.mlp.up.weight
    for parameter in router.parameters():  # not what a router counts: half precision stops at 256
        parameter.data = parameter.data.to(weight.dtype)
    put(model, old.name, layer.to(weight.device), context)
    for name, module in old.also.items():
        model.set_submodule(name, module)


def put(model: nn.Module, name: str, layer: MoE, context: RoutingContext) -> None:
    """Put an MoE layer in the place of a module."""
    layer.context = context
    model.set_submodule(name, layer.train(model.training))


def attach(model: nn.Module, context: RoutingContext) -> nn.Module:
    """Let every forward of the model open and close the context of its layers, and return the model.

    A configuration of Hugging Face's gets the description of the layers: `save_pretrained` writes
    it.
    """
    model.register_forward_pre_hook(_Begin(context), with_kwargs=True)
    model.register_forward_hook(_End(context))
    config: Any = getattr(model, "config", None)
    if hasattr(config, "to_json_string"):
        config.moesuite = describe(model).model_dump()
    return model


def _tokens_per_group(model: nn.Module, chosen: list[Candidate], example: Any) -> dict[str, int]:
    """Run the model once and read how many tokens each MLP sees; empty where the model's input is not known."""
    example = default_example(model) if example is None else example
    if example is None:
        return {}
    tokens: dict[str, int] = {}

    def note(name: str, channels_first: bool) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            shape = args[0].shape
            tokens[name] = (
                shape[2:].numel()
                if channels_first
                else shape[1:-1].numel()
                if len(shape) > 2
                else shape[0]
            )

        return hook

    handles = [
        model.get_submodule(item.name).register_forward_pre_hook(
            note(item.name, item.mlp.channels_first)
        )
        for item in chosen
    ]
    with torch.random.fork_rng(devices=[]), KernelsOfRealDevices():
        run_once(model, example, handles)
    return tokens


class _Begin:
    """Opens the shared context at each forward of the host. An object, not a closure: copies get their own context."""

    def __init__(self, context: RoutingContext) -> None:
        self.context = context

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        begin_routing(self.context, module, kwargs)


def begin_routing(context: RoutingContext, model: nn.Module, inputs: Mapping[str, Any]) -> None:
    """Tell the layers of `model` what is known of the tokens that it is called with."""
    decoder = _side(inputs, "decoder_") if is_encoder_decoder(model) else None
    context.begin(_side(inputs), model.training, decoder)


def _side(kwargs: Mapping[str, Any], prefix: str = "") -> Side:
    """Read padding mask and token ids, [G, T], from the keyword arguments that Hugging Face's models share."""
    mask, ids = (
        value if isinstance(value, Tensor) and value.ndim == 2 else None
        for value in (kwargs.get(f"{prefix}attention_mask"), kwargs.get(f"{prefix}input_ids"))
    )
    if mask is not None and ids is not None and kwargs.get("past_key_values") is not None:
        mask = mask[
            :, -ids.shape[1] :
        ]  # it is of all tokens so far, of which only the new ones are routed
    return Side(None if mask is None else mask.bool(), ids)


class _End:
    """Closes the shared context after each forward of the host."""

    def __init__(self, context: RoutingContext) -> None:
        self.context = context

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.context.end()


@contextmanager
def limited_evaluation(model: nn.Module) -> Iterator[None]:
    """Within this, routers that drop keep their training capacity in evaluation."""
    routers = [module.router for module in model.modules() if isinstance(module, MoE)]
    for router in routers:
        router.limited = True
    try:
        yield
    finally:
        for router in routers:
            router.limited = False
