"""Model surgery: MoE layers in the place of a model's MLPs, with no other change to the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.candidates import Adapter, Candidate, Layers, candidates, select
from moesuite.experts import Experts
from moesuite.moe import MoE, RoutingContext, Side, call, evaluating, is_encoder_decoder
from moesuite.plugins import build_router, router_class
from moesuite.router import LayerSpec, Router
from moesuite.routers.dense import Dense
from moesuite.shadow import KernelsOfRealDevices


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
    **router_options: Any,
) -> nn.Module:
    """Replace MLPs of `model` by MoE layers, in place, and return it. Every expert starts as a copy of its MLP.

    Args:
        model: any timm model with MLP blocks: ViT, DeiT, MLP-Mixer, Swin, ConvNeXt, EVA; of Hugging Face's: GPT-2,
            LLaMA and its kin, BERT, RoBERTa, T5, ViT.
        router: a router's name, or `module.or.file:Class` outside the package; "dense" changes nothing.
        num_experts: experts E of each layer, >= 1.
        layers: "last_half" (Soft MoE), "every_other" (V-MoE: second, fourth, ...), "all", "last_two", indices among
            the candidates (negative from the end), or names of modules.
        slots_per_token: expert work per token relative to the MLP, E·C/T, in (0, E]. Token choice: K times the
            capacity factor; expert choice: the capacity factor; Soft MoE: slots over tokens.
        eval_slots_per_token: the same in evaluation; None: as in training, without limit for routers that drop.
        example: an input of the model, from which routers with a fixed number of slots learn the number of tokens;
            None: one image of the size that the model was made for.
        renormalise: divide the combine weights of each token by their sum, as `moesuite.upcycle` does for images.
        adapter: takes modules of the model apart that no form of `moesuite.mlps` knows; None for all others.
        router_options: the router's own parameters.

    Raises:
        UserError: if nothing can be replaced (lists the candidates), or an option is out of range.

    Example:
        >>> import timm
        >>> model = moefy(timm.create_model("vit_tiny_patch16_224"), router="soft", num_experts=4)
        >>> sum(1 for _ in moe_layers(model))
        6
    """
    chosen = select(candidates(model, adapter), layers, model)
    if router_class(router) is Dense:
        return model
    tokens = _tokens_per_group(model, chosen, example)
    # all are built before the first expert is made: an error leaves the model as it was
    routers = [
        build_router(router, LayerSpec(dim, num_experts, slots_per_token, eval_slots_per_token, length), router_options)
        for dim, length in ((candidate.mlp.up.in_features, tokens.get(candidate.name)) for candidate in chosen)
    ]
    context = RoutingContext()
    while chosen:  # one by one, each MLP forgotten where its experts stand: no second copy of the model in memory
        _replace(model, chosen.pop(0), routers.pop(0), num_experts, renormalise, context)
    model.register_forward_pre_hook(_Begin(context), with_kwargs=True)
    model.register_forward_hook(_End(context))
    return model


def _replace(
    model: nn.Module, old: Candidate, router: Router, num_experts: int, renormalise: bool, context: RoutingContext
) -> None:
    """Put an MoE layer in the place of an MLP."""
    in_decoder = "decoder" in old.name.split(".")
    layer = MoE(router, Experts(old.mlp, num_experts), old.mlp.channels_first, in_decoder, renormalise)
    layer.context = context
    weight = old.mlp.up.weight
    new = {old.name: layer.to(weight.device, weight.dtype).train(model.training), **old.also}
    for name, module in new.items():
        model.set_submodule(name, module)


def _tokens_per_group(model: nn.Module, chosen: list[Candidate], example: Any) -> dict[str, int]:
    """Run the model once and read how many tokens each MLP sees; empty where the model's input is not known."""
    example = default_example(model) if example is None else example
    if example is None:
        return {}
    tokens: dict[str, int] = {}

    def note(name: str, channels_first: bool) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            shape = args[0].shape
            tokens[name] = shape[2:].numel() if channels_first else shape[1:-1].numel() if len(shape) > 2 else shape[0]

        return hook

    handles = [
        model.get_submodule(item.name).register_forward_pre_hook(note(item.name, item.mlp.channels_first))
        for item in chosen
    ]
    try:
        with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]), KernelsOfRealDevices():
            call(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return tokens


def default_example(model: nn.Module) -> Tensor | None:
    """Return one blank image of the size that a timm model was made for; None for other models."""
    size = getattr(model, "default_cfg", {}).get("input_size") if hasattr(model, "default_cfg") else None
    if size is None:
        return None
    embed = getattr(model, "patch_embed", None)
    height, width = getattr(embed, "img_size", None) or size[-2:]
    parameter = next(model.parameters())
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), size[0])
    return parameter.new_zeros(1, channels, height, width)


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
        mask = mask[:, -ids.shape[1] :]  # it is of all tokens so far, of which only the new ones are routed
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
