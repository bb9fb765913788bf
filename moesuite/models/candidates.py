"""Find the MLPs of a model that can become MoE layers, and select from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from moesuite.errors import UserError, unknown
from moesuite.models.mlps.split.read import SplitMLP, read_chain, read_splits
from moesuite.models.mlps.whole import read_mlp
from moesuite.models.mlps.wrapped import unwrapped
from moesuite.nn.experts import DenseMLP

# MLPs that mix tokens with each other: their last axis is not the width of a token, so that tokens
# cannot be routed
TOKEN_MIXERS = ("mlp_tokens",)
Layers = str | Sequence[int | str]
# None for modules that it does not know
Adapter = Callable[[nn.Module], DenseMLP | SplitMLP | None]


@dataclass(frozen=True)
class Candidate:
    """An MLP that can become an MoE layer.

    Attributes:
        name: of the module that is replaced.
        mlp: its parts.
        last: name of the module that returns the output of the MLP.
        also: other modules to replace, by name.
        settings: plain attributes of modules to set, by name.
    """

    name: str
    mlp: DenseMLP
    last: str
    also: Mapping[str, nn.Module] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def candidates(model: nn.Module, adapter: Adapter | None = None) -> list[Candidate]:
    """Return every MLP of `model` that can become an MoE layer, in the model's order."""
    with unwrapped(model):
        named = model.named_modules()
        return [
            _candidate(name, read)
            for name, module in named
            for read in _read(name, module, adapter)
        ]


def _read(name: str, module: nn.Module, adapter: Adapter | None) -> Sequence[DenseMLP | SplitMLP]:
    """Return the MLP that a module is, or those that are spread over it."""
    adapted = None if adapter is None else adapter(module)
    if adapted is not None:
        return [adapted]
    if mixes_tokens(name):
        return []
    whole = read_mlp(module) or read_chain(module)
    return read_splits(module) if whole is None else [whole]


def _candidate(name: str, read: DenseMLP | SplitMLP) -> Candidate:
    """Return what was read of the module `name`, with the names of its parts in the model."""
    if isinstance(read, DenseMLP):
        return Candidate(name, read, name)
    also = {_joined(name, part): module for part, module in read.also.items()}
    settings = {_joined(name, attribute): value for attribute, value in read.settings.items()}
    return Candidate(_joined(name, read.first), read.mlp, _joined(name, read.last), also, settings)


def _joined(name: str, part: str) -> str:
    return f"{name}.{part}" if name and part else name + part


def mixes_tokens(name: str) -> bool:
    """Return whether a module of this name mixes tokens with each other, as in an MLP-Mixer."""
    return name.rsplit(".", 1)[-1] in TOKEN_MIXERS


def looks_like_mlp(module: nn.Module) -> bool:
    """Return whether the class of a module is named like an MLP."""
    kind = type(module).__name__.lower()
    return any(part in kind for part in ("mlp", "feedforward", "ffn"))


def select(known: list[Candidate], layers: Layers, model: nn.Module) -> list[Candidate]:
    """Return the candidates that `layers` selects.

    Args:
        known: all candidates of `model`.
        layers: see `moesuite.surgery.moe_config.MoEConfig`.
        model: for errors.

    Raises:
        UserError: if nothing can be replaced (names modules that look like an MLP), or nothing
            matches (lists the candidates).
    """
    if not known:
        raise _no_candidates(model)
    names = [candidate.name for candidate in known]
    rules: dict[str, Callable[[], list[Candidate]]] = {
        "last_half": lambda: known[len(known) // 2 :],
        "every_other": lambda: known[1::2],
        "all": lambda: known,
        "last_two": lambda: known[-2:],
    }
    if isinstance(layers, str):
        if layers not in rules:
            raise unknown(
                "layers",
                layers,
                rules,
                "layers=last_half, or layers=[-1] with indices or module names",
            )
        chosen = rules[layers]()
    else:
        picked = [_pick(known, names, layer) for layer in layers]
        # the same layer may be named twice, by its index from either end
        chosen = list({candidate.name: candidate for candidate in picked}.values())
    if not chosen:
        raise UserError(
            f"layers={layers}: nothing matched; candidates: {', '.join(names)}; e.g. layers=[-1]"
        )
    return chosen


def _no_candidates(model: nn.Module) -> UserError:
    similar = {type(module).__name__ for module in model.modules() if looks_like_mlp(module)}
    return UserError(
        f"{type(model).__name__} has no MLP that can become an MoE layer; modules that look like "
        f"one and have no adapter: {', '.join(sorted(similar)) or 'none'}; expected MLPs of linear "
        "layers on tokens [..., D], e.g. backbone=vit_ti16, or in Python "
        "adapter=<function that takes such a module and returns a moesuite.DenseMLP>"
    )


def _pick(known: list[Candidate], names: list[str], layer: int | str) -> Candidate:
    if isinstance(layer, str) and layer in names:
        return known[names.index(layer)]
    if isinstance(layer, int) and -len(known) <= layer < len(known):
        return known[layer]
    raise UserError(
        f"layers: {layer!r} matched nothing; candidates: "
        + ", ".join(f"{index} {name}" for index, name in enumerate(names))
        + "; e.g. layers=[-1]"
    )
