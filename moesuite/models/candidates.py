"""Which MLPs of a model can become MoE layers, and which of them are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from moesuite.errors import UserError, unknown
from moesuite.models.mlps import read_mlp, read_split
from moesuite.nn.experts import DenseMLP

# MLPs that mix tokens with each other: their last axis is not a token's width, so no token can be
# routed
TOKEN_MIXERS = ("mlp_tokens",)
Layers = str | Sequence[int | str]
Adapter = Callable[[nn.Module], DenseMLP | None]  # of a module that it knows, the MLP taken apart


@dataclass(frozen=True)
class Candidate:
    """An MLP that can become an MoE layer.

    Attributes:
        name: of the module that is replaced.
        mlp: what it is made of.
        also: other modules to replace, by name.
        last: name of the module that puts out what the MLP answers.
    """

    name: str
    mlp: DenseMLP
    last: str
    also: Mapping[str, nn.Module] = field(default_factory=dict)


def candidates(model: nn.Module, adapter: Adapter | None = None) -> list[Candidate]:
    """Return every MLP of `model` that can become an MoE layer, in the model's order."""
    found = []
    for name, module in model.named_modules():
        if adapter is not None and (own := adapter(module)) is not None:
            found.append(Candidate(name, own, name))
        elif (split := read_split(module)) is not None:
            first, last = f"{name}.intermediate", f"{name}.output"
            found.append(Candidate(first, split[0], f"{last}.dense", {last: split[1]}))
        elif not mixes_tokens(name) and (mlp := read_mlp(module)) is not None:
            found.append(Candidate(name, mlp, name))
    return found


def mixes_tokens(name: str) -> bool:
    """Return whether a module of this name mixes tokens with each other, as in an MLP-Mixer."""
    return name.rsplit(".", 1)[-1] in TOKEN_MIXERS


def looks_like_mlp(module: nn.Module) -> bool:
    """Return whether a module has the name of an MLP, whatever is in it."""
    kind = type(module).__name__.lower()
    return any(part in kind for part in ("mlp", "feedforward", "ffn"))


def select(found: list[Candidate], layers: Layers, model: nn.Module) -> list[Candidate]:
    """Return the candidates that `layers` names; see `moesuite.moefy`.

    Raises:
        UserError: if nothing can be replaced (names what looks like an MLP), or nothing matches
            (lists the candidates).
    """
    names = [candidate.name for candidate in found]
    if not names:
        modules = sorted(
            {type(module).__name__ for module in model.modules() if looks_like_mlp(module)}
        )
        raise UserError(
            f"{type(model).__name__} has no MLP that can become an MoE layer; modules that look like one and have no "
            f"adapter: {', '.join(modules) or 'none'}; allowed: MLPs of linear layers on tokens [..., D]; type for "
            "example backbone=vit_ti16, or in Python adapter=<function that takes such a module and returns a "
            "moesuite.DenseMLP>"
        )
    rules: dict[str, Callable[[], list[Candidate]]] = {
        "last_half": lambda: found[len(found) // 2 :],
        "every_other": lambda: found[1::2],
        "all": lambda: found,
        "last_two": lambda: found[-2:],
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
        picked = [_pick(found, names, layer) for layer in layers]
        chosen = list(
            {candidate.name: candidate for candidate in picked}.values()
        )  # -1 may be named twice
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
