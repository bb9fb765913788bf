"""The check of a saved model while it can still be saved otherwise: it is built anew, and compared.

The twin is built from the recipe and the description that are to be written, and shares the weights
of the model: its own parameters are made on the meta device, one at a time, so that it takes no
memory but that of buffers, and no time but that of its modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from math import isfinite
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from moesuite.errors import UserError
from moesuite.models.candidates import Adapter
from moesuite.models.recipes import from_recipe
from moesuite.surgery.checkpoint_format import Description
from moesuite.surgery.rebuild import rebuild

# attributes that change nothing, or follow the machine or the training
INCIDENTAL = {"training", "grad_checkpointing", "gradient_checkpointing", "fused_attn"}


def twin_of(
    model: nn.Module, recipe: dict[str, Any], description: Description, adapter: Adapter | None
) -> nn.Module:
    """Build the model that would come back, with the weights of `model`, which it shares.

    Raises:
        UserError: if it cannot be built, or has other weights.
    """
    with _parameters_on_meta():
        twin = rebuild(dense_model(recipe, model.state_dict()), description, adapter)
    if problem := next(_of_shapes(model, twin), None):
        raise UserError(problem)
    twin.load_state_dict(model.state_dict(), assign=True)
    cast_buffers(twin, description.buffers)
    return twin.to(next(model.parameters()).device).eval()


def dense_model(recipe: Any, names: Any) -> nn.Module:
    """Build the dense model of a saved one, with random weights.

    Args:
        recipe: of `moesuite.models.recipes`.
        names: of the saved weights, which tell whether it had a pooler.
    """
    model: Any = from_recipe(recipe)
    has_pooler = any(name.startswith("pooler.") for name in names)
    pooler = getattr(model, "pooler", None)
    if pooler is not None and any(True for _ in pooler.parameters()) and not has_pooler:
        model.pooler = None  # as where text is embedded
    return model


def cast_buffers(model: nn.Module, types: Mapping[str, str]) -> None:
    """Cast buffers that are no weights, by name, to the types that they had in a saved model."""
    buffers = dict(model.named_buffers())
    for name, dtype in types.items():
        if name in buffers:
            host, _, last = name.rpartition(".")
            setattr(model.get_submodule(host), last, buffers[name].to(getattr(torch, dtype)))


def attributes_of(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the plain attributes of a model's modules by name: numbers, words, and lists.

    That of "class" is the module's class.
    """
    attributes = {}
    for name, module in model.named_modules():
        values = {
            key: _as_json(value)
            for key, value in vars(module).items()
            if key not in INCIDENTAL and not key.startswith("_")
        }
        known = {key: values[key] for key in sorted(values) if values[key] is not ...}
        attributes[name] = {"class": type(module).__name__, **known}
    return attributes


def attribute_difference(
    expected: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return the first difference between `attributes_of` two models in words; empty if none."""
    for name, values in expected.items():
        where = name or "the model"
        if name not in new:
            return f"{where} would be missing"
        for key in [key for key in values if key in new[name]]:
            if values[key] != new[name][key]:
                what = where if key == "class" else f"{key} of {where}"
                return f"{what} would be {new[name][key]}, and is {values[key]}"
    return ""


def _as_json(value: Any) -> Any:
    """Return a value that can be compared after it was written; Ellipsis for all others."""
    if isinstance(value, list | tuple):
        items = [_as_json(item) for item in value]
        return ... if any(item is ... for item in items) else items
    if isinstance(value, Enum | torch.dtype) or (isinstance(value, float) and not isfinite(value)):
        return str(value)
    return value if isinstance(value, bool | int | float | str | None) else ...


def _of_shapes(model: nn.Module, twin: nn.Module) -> Iterator[str]:
    """Yield how modules and weights differ."""
    modules, twins = (dict(host.named_modules()).keys() for host in (model, twin))
    for names, words in ((modules - twins, "would be missing"), (twins - modules, "would be new")):
        if names:
            yield f"{sorted(names)[0]} {words}"
    weights, others = model.state_dict(), twin.state_dict()
    for name in weights.keys() | others.keys():
        shapes = [tuple(s[name].shape) if name in s else "missing" for s in (weights, others)]
        if shapes[0] != shapes[1]:
            yield f"{name} would be {shapes[1]}, and is {shapes[0]}"


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Within this context, modules have their parameters on the meta device, and real buffers."""

    def moved(_: nn.Module, __: str, parameter: nn.Parameter | None) -> Any:
        if parameter is None or parameter.is_meta:
            return parameter
        return nn.Parameter(parameter.to("meta"), parameter.requires_grad)

    handle = register_module_parameter_registration_hook(moved)
    try:
        yield
    finally:
        handle.remove()
