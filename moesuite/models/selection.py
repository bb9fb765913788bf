"""Select from the MLPs of a model, or say why there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import nn

from moesuite.errors import UserError, unknown
from moesuite.models.candidates import Candidate, Survey, looks_like_mlp
from moesuite.models.mlps.defaults import BESIDE
from moesuite.models.moe_blocks.blocks import Block, missing, moe_reason, no_blocks, read_blocks
from moesuite.nn.moe import moe_layers

Layers = str | Sequence[int | str]
SHOWN = 3  # names in a message
Layer = TypeVar("Layer", Candidate, Block)


def select(found: Survey, layers: Layers, model: nn.Module) -> list[Candidate]:
    """Return the candidates that `layers` selects.

    Args:
        found: the survey of `model`.
        layers: see `moesuite.surgery.moe_config.MoEConfig`.
        model: for errors.

    Raises:
        UserError: if nothing can be replaced (says why), or nothing matches (lists the candidates).
    """
    known = [candidate for candidate in found.known if candidate.name not in found.aside]
    are_named = not isinstance(layers, str) and any(isinstance(layer, str) for layer in layers)
    if not known and not are_named:
        raise UserError(_no_candidates(found, model))
    if isinstance(layers, str):
        chosen = _by_rule(known, layers)
    else:
        picked = [_pick(found, known, layer, model) for layer in layers]
        # the same layer may be named twice, by its index from either end
        chosen = list({candidate.name: candidate for candidate in picked}.values())
    if not chosen:
        names = ", ".join(candidate.name for candidate in known)
        raise UserError(f"layers={layers}: nothing matched; candidates: {names}; e.g. layers=[-1]")
    return chosen


def select_blocks(model: nn.Module, layers: Layers | None = None) -> list[Block]:
    """Return the MoE layers of another library's model that are to be rerouted.

    Args:
        model: a mixture of experts.
        layers: as for `select`, of its MoE layers; None: all, which all have to be readable.

    Raises:
        UserError: if there is none, nothing matches, or one cannot be read and none is chosen.
    """
    read = read_blocks(model)
    known = [block for block in read.values() if isinstance(block, Block)]
    if not known:
        raise no_blocks(model, read)
    example = f"layers=[{known[0].name!r}]"
    if layers is None and len(known) < len(read):
        raise UserError(
            f"{type(model).__name__} has MoE layers that cannot be read ({missing(model, read)}); "
            f"expected the names of others, e.g. {example}"
        )
    if layers is None or isinstance(layers, str):
        return known if layers is None else _by_rule(known, layers)
    names = [block.name for block in known]
    chosen = []
    for layer in layers:
        if isinstance(layer, int) and -len(names) <= layer < len(names):
            chosen.append(names[layer])
        elif layer in names:
            chosen.append(str(layer))
        else:
            raise unknown("MoE layer", str(layer), names, example)
    if not chosen:
        listed = ", ".join(names)
        raise UserError(f"layers=[]: nothing matched; MoE layers: {listed}; e.g. {example}")
    return [block for block in known if block.name in chosen]


def _by_rule(known: list[Layer], layers: str) -> list[Layer]:
    rules: dict[str, Callable[[], list[Layer]]] = {
        "last_half": lambda: known[len(known) // 2 :],
        "every_other": lambda: known[1::2],
        "all": lambda: known,
        "last_two": lambda: known[-2:],
    }
    if layers not in rules:
        hint = "layers=last_half, or layers=[-1] with indices or module names"
        raise unknown("layers", layers, rules, hint)
    return rules[layers]()


def _pick(found: Survey, known: list[Candidate], layer: int | str, model: nn.Module) -> Candidate:
    by_name = {candidate.name: candidate for candidate in found.known}
    if isinstance(layer, str) and layer in by_name:
        return by_name[layer]
    if isinstance(layer, int) and -len(known) <= layer < len(known):
        return known[layer]
    if isinstance(layer, str) and layer in found.refused:
        why = f" cannot become an MoE layer: {_kind(model, layer)} {found.refused[layer]}"
    else:
        why = " matched nothing"
    names = ", ".join(f"{index} {candidate.name}" for index, candidate in enumerate(known))
    raise UserError(f"layers: {layer!r}{why}; candidates: {names or 'none'}; e.g. layers=[-1]")


def _no_candidates(found: Survey, model: nn.Module) -> str:
    """Return why no MLP of a model becomes an MoE layer by default."""
    name = type(model).__name__
    if (reason := moe_reason(model)) is not None:
        besides = [layer for layer, why in found.aside.items() if why == BESIDE]
        return f"{name}: {reason}{_by_name(besides)}"
    if found.aside:
        first, why = next(iter(found.aside.items()))
        return (
            f"{name} has no MLP that becomes an MoE layer by default: {_kind(model, first)} at "
            f"{first} {why}{_by_name(list(found.aside))}"
        )
    if any(moe_layers(model)):
        return f"{name} has no MLP left: what it has are MoE layers of moesuite already"
    similar = {type(module).__name__ for module in model.modules() if looks_like_mlp(module)}
    similar -= {_kind(model, layer) for layer in found.refused}
    problems = [f"{name} has no MLP that can become an MoE layer", *_refusals(found, model)]
    if similar:
        listed = ", ".join(sorted(similar))
        problems.append(f"modules that look like one and have no adapter: {listed}")
    return (
        f"{'; '.join(problems)}; expected MLPs of linear layers on tokens [..., D], e.g. "
        "backbone=vit_ti16, or in Python adapter=<function that takes such a module and returns a "
        "moesuite.DenseMLP>"
    )


def _by_name(layers: list[str]) -> str:
    return f"; MLPs that are to be replaced all the same: layers={layers[:SHOWN]}" if layers else ""


def _refusals(found: Survey, model: nn.Module) -> list[str]:
    """Return why each kind of MLP was refused, with its first name."""
    first: dict[str, str] = {}
    for layer in found.refused:
        first.setdefault(_kind(model, layer), layer)
    return [
        f"{kind} at {layer or 'its root'} {found.refused[layer]}" for kind, layer in first.items()
    ]


def _kind(model: nn.Module, name: str) -> str:
    return type(model.get_submodule(name)).__name__
