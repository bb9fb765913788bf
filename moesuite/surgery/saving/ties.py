"""Weights that were tied by hand: several modules hold one parameter, which is written once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from moesuite.errors import UserError


def ties_of(model: Any) -> list[list[str]]:
    """Return the names of each parameter that modules share, and not by a model's configuration."""
    names: dict[int, list[str]] = {}
    for host, module in model.named_modules():
        for name, parameter in module.named_parameters(host, recurse=False):
            names.setdefault(id(parameter), []).append(name)
    groups = [group for group in names.values() if len(group) > 1]
    if groups and hasattr(model, "get_expanded_tied_weights_keys"):
        configured = model.get_expanded_tied_weights_keys(all_submodels=True)
        groups = [group for group in groups if len({*group} - configured.keys()) > 1]
    return groups


def tie(model: Any, groups: Iterable[Sequence[str]]) -> None:
    """Give modules the same parameter again; the loader of transformers is told to do it, too.

    Raises:
        UserError: if the model has no such weights, or they differ in shape.
    """
    weights = dict(model.named_parameters(remove_duplicate=False))
    for first, *others in groups:
        shapes = {weights[name].shape if name in weights else None for name in (first, *others)}
        if len(shapes) > 1 or None in shapes:
            raise UserError(
                f"no weights to tie at {first}, {', '.join(others)}; expected a model of the saved "
                "architecture"
            )
        for name in others:
            host, _, last = name.rpartition(".")
            setattr(model.get_submodule(host), last, model.get_parameter(first))
        if hasattr(model, "all_tied_weights_keys"):
            model.all_tied_weights_keys |= dict.fromkeys(others, first)
