"""Model surgery: MoE layers in the place of a model's MLPs, with no other change to the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.errors import UserError, unknown
from moesuite.experts import Experts
from moesuite.mlps import DenseMLP, read_mlp, read_split
from moesuite.moe import MoE, RoutingContext, Side, call, evaluating, is_encoder_decoder
from moesuite.plugins import build_router, router_class
from moesuite.router import LayerSpec
from moesuite.routers.dense import Dense
from moesuite.shadow import KernelsOfRealDevices

# MLPs that mix tokens with each other: their last axis is not a token's width, so no token can be routed
TOKEN_MIXERS = ("mlp_tokens",)


@dataclass(frozen=True)
class Candidate:
    """An MLP that can become an MoE layer: where it stands and what it is made of."""

    name: str
    mlp: DenseMLP
    also: Mapping[str, nn.Module] = field(default_factory=dict)  # other modules to replace, by name


def candidates(model: nn.Module) -> list[Candidate]:
    """Return every MLP of `model` that can become an MoE layer, in the model's order."""
    found = []
    for name, module in model.named_modules():
        if (split := read_split(module)) is not None:
            found.append(Candidate(f"{name}.intermediate", split[0], {f"{name}.output": split[1]}))
        elif name.rsplit(".", 1)[-1] not in TOKEN_MIXERS and (mlp := read_mlp(module)) is not None:
            found.append(Candidate(name, mlp))
    return found


def moefy(
    model: nn.Module,
    router: str = "token_choice",
    num_experts: int = 8,
    layers: str | Sequence[int | str] = "last_half",
    slots_per_token: float = 1.0,
    eval_slots_per_token: float | None = None,
    example: Any = None,
    **router_options: Any,
) -> nn.Module:
    """Replace MLPs of `model` by MoE layers, in place, and return it. Every expert starts as a copy of its MLP.

    Args:
        model: any timm model with MLP blocks: ViT, DeiT, MLP-Mixer, Swin, ConvNeXt, EVA.
        router: a router's name, or `module.or.file:Class` outside the package; "dense" changes nothing.
        num_experts: experts E of each layer, >= 1.
        layers: "last_half" (Soft MoE), "every_other" (V-MoE: second, fourth, ...), "all", "last_two", indices among
            the candidates (negative from the end), or names of modules.
        slots_per_token: expert work per token relative to the MLP, E·C/T, in (0, E]. Token choice: K times the
            capacity factor; expert choice: the capacity factor; Soft MoE: slots over tokens.
        eval_slots_per_token: the same in evaluation; None: as in training, without limit for routers that drop.
        example: an input of the model, from which routers with a fixed number of slots learn the number of tokens;
            None: one image of the size that the model was made for.
        router_options: the router's own parameters.

    Raises:
        UserError: if nothing can be replaced (lists the candidates), or an option is out of range.

    Example:
        >>> import timm
        >>> model = moefy(timm.create_model("vit_tiny_patch16_224"), router="soft", num_experts=4)
        >>> sum(1 for _ in moe_layers(model))
        6
    """
    chosen = _select(candidates(model), layers, model)
    cls = router_class(router)
    if cls is Dense:
        return model
    tokens = _tokens_per_group(model, chosen, example)
    context = RoutingContext()
    # all are built before the first is put in place: an error leaves the model as it was
    built: dict[str, nn.Module] = {}
    for candidate in chosen:
        dim, length = candidate.mlp.up.in_features, tokens.get(candidate.name)
        spec = LayerSpec(dim, num_experts, slots_per_token, eval_slots_per_token, length)
        experts = Experts(candidate.mlp, num_experts)
        in_decoder = "decoder" in candidate.name.split(".")
        layer = MoE(build_router(router, spec, router_options), experts, candidate.mlp.channels_first, in_decoder)
        layer.context = context
        weight = candidate.mlp.up.weight
        built[candidate.name] = layer.to(weight.device, weight.dtype).train(model.training)
    others = {name: module for candidate in chosen for name, module in candidate.also.items()}
    for name, module in (built | others).items():
        model.set_submodule(name, module)
    model.register_forward_pre_hook(_Begin(context), with_kwargs=True)
    model.register_forward_hook(_End(context))
    return model


def _select(found: list[Candidate], layers: str | Sequence[int | str], model: nn.Module) -> list[Candidate]:
    names = [candidate.name for candidate in found]
    if not names:
        modules = sorted({type(m).__name__ for _, m in model.named_modules() if "mlp" in type(m).__name__.lower()})
        raise UserError(
            f"{type(model).__name__} has no MLP that can become an MoE layer; modules that look like one: "
            f"{', '.join(modules) or 'none'}; allowed: MLPs of linear layers on tokens [..., D]; "
            "type for example backbone=vit_ti16"
        )
    rules: dict[str, Callable[[], list[Candidate]]] = {
        "last_half": lambda: found[len(found) // 2 :],
        "every_other": lambda: found[1::2],
        "all": lambda: found,
        "last_two": lambda: found[-2:],
    }
    if isinstance(layers, str):
        if layers not in rules:
            raise unknown("layers", layers, rules, "layers=last_half, or layers=[-1] with indices or module names")
        chosen = rules[layers]()
    else:
        chosen = [_pick(found, names, layer) for layer in layers]
    if not chosen:
        raise UserError(
            f"layers={layers}: nothing matched; candidates: {', '.join(names)}; type for example layers=[-1]"
        )
    return chosen


def _pick(found: list[Candidate], names: list[str], layer: int | str) -> Candidate:
    if isinstance(layer, str) and layer in names:
        return found[names.index(layer)]
    if isinstance(layer, int) and -len(found) <= layer < len(found):
        return found[layer]
    raise UserError(
        f"layers: {layer!r} matched nothing; candidates: "
        + ", ".join(f"{index} {name}" for index, name in enumerate(names))
        + "; type for example layers=[-1]"
    )


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
        decoder = _side(kwargs, "decoder_") if is_encoder_decoder(module) else None
        self.context.begin(_side(kwargs), module.training, decoder)


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
