"""The parts of a module that may be an MLP, whatever they are called; or what is in the way."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from moesuite.models.mlps.linear import as_linear

MOST = 4  # linear layers of what is still called nearly an MLP
WEIGHTED_ACTIVATIONS = ("torch.nn.modules.activation", "transformers.activations")
EXPECTED = "expected two linear layers, or three of which one is a gate"
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Layout(NamedTuple):
    """Names of the parts of an MLP.

    Attributes:
        first: linear layers on tokens: one, one with a gate beside it, or two of the same shape.
        down: the linear layer that returns to the width of tokens.
        width, hidden: D and H.
        norm: a LayerNorm of hidden values, if there is one.
        dropouts: modules, or attributes with a rate, that drop something.
        acts: modules without linear layers, and attributes that are functions.
    """

    first: list[str]
    down: str
    width: int
    hidden: int
    norm: str | None
    dropouts: list[str]
    acts: list[str]


def layout(module: nn.Module) -> Layout | str:
    """Return the parts of a module, or what keeps it from being an MLP; empty if it is unlike."""
    linears = {
        path: part for path, part in module.named_modules() if path and _widths(part) is not None
    }
    shapes = {path: _widths(part) or (0, 0) for path, part in linears.items()}
    width, hidden = _returning(shapes)
    if not hidden:
        return ""
    inside = tuple(f"{path}." for path in linears)
    others = {
        path: part
        for path, part in module.named_modules()
        if path not in linears and not path.startswith(inside)
    }
    downs = [path for path, shape in shapes.items() if shape == (hidden, width)]
    first = [path for path in shapes if path not in downs]
    norms = [path for path, part in others.items() if _is_norm(part, hidden)]
    if obstacle := _obstacle(linears, {k: v for k, v in others.items() if k not in norms}):
        return obstacle
    widths = [shapes[path] for path in first]
    whole = [(width, hidden)], [(width, hidden)] * 2, [(width, 2 * hidden)]
    if len(downs) != 1 or len(norms) > 1 or widths not in whole:
        listed = ", ".join(f"{path} {wide}→{other}" for path, (wide, other) in shapes.items())
        return f"has {len(shapes)} linear layers ({listed}); {EXPECTED}"
    norm = next(iter(norms), None)
    return Layout(first, downs[0], width, hidden, norm, _dropouts(others), _acts(others))


def _widths(part: Any) -> tuple[int, int] | None:
    """Return the widths of what calls itself a linear layer, quantised or not; None for others."""
    linear = as_linear(part) if type(part).__name__ == "Conv1D" else part
    match getattr(linear, "in_features", None), getattr(linear, "out_features", None):
        case int(before), int(after):
            return before, after
    return None


def _returning(shapes: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """Return D and H if some layer widens tokens, or two halves do, and one undoes it; or 0, 0."""
    present = set(shapes.values()) if len(shapes) <= MOST else set()
    for hidden, width in present:
        if hidden > width and {(width, hidden), (width, 2 * hidden)} & present:
            return width, hidden
    return 0, 0


def _is_norm(part: nn.Module, hidden: int) -> bool:
    return type(part) is nn.LayerNorm and part.normalized_shape == (hidden,)


def _obstacle(linears: Mapping[str, nn.Module], others: Mapping[str, nn.Module]) -> str:
    """Return what has weights that experts would not have, or nothing."""
    for path, part in linears.items():
        if as_linear(part) is None:
            weight = getattr(part, "weight", None)
            is_plain = type(weight) is nn.Parameter or not isinstance(weight, Tensor)
            weights = "" if is_plain else f" with weights of {_class(weight)}"
            return f"has the {_class(part)} {path}{weights}; expected a plain nn.Linear"
    for path, part in others.items():
        tensors = {**part._parameters, **part._buffers}
        is_act = type(part).__module__ in WEIGHTED_ACTIVATIONS
        if not is_act and any(tensor is not None for tensor in tensors.values()):
            what = f"the {type(part).__name__} {path}" if path else ", ".join(tensors)
            return f"has {what} besides its linear layers; {EXPECTED}"
    return ""


def _class(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _dropouts(others: Mapping[str, nn.Module]) -> list[str]:
    """Return the dropouts that drop something: modules, or attributes with a rate."""
    modules = [path for path, part in others.items() if type(part) is nn.Dropout and part.p > 0]
    rates = [
        path
        for path, value in _attributes(others)
        if "drop" in path and isinstance(value, float) and 0 < value < 1
    ]
    return [*modules, *rates]


def _acts(others: Mapping[str, nn.Module]) -> list[str]:
    """Return what may be an activation."""
    modules = [
        path
        for path, part in others.items()
        if path and not part._modules and type(part) not in (nn.Dropout, nn.Identity, *CONTAINERS)
    ]
    functions = [path for path, value in _attributes(others) if inspect.isroutine(value)]
    return modules + functions


def _attributes(parts: Mapping[str, nn.Module]) -> Iterator[tuple[str, Any]]:
    for path, part in parts.items():
        prefix = f"{path}." if path else ""
        yield from ((prefix + name, value) for name, value in vars(part).items() if name[0] != "_")
