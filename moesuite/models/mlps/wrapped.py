"""What users put around the layers of a model, and what would be lost with a layer.

Adapters of peft wrap a layer, parametrizations compute its weights, hooks run at its calls. An MLP
is recognised without them, so that the order of a model's MLPs does not depend on them, and
replacing one with them is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from moesuite.errors import UserError
from moesuite.models.mlps.linear import is_plain

HOOKS_OF_WEIGHTS = ("_backward_hooks", "_post_accumulate_grad_hooks")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def inner(module: nn.Module) -> nn.Module | None:
    """Return the plain layer in a layer of peft or one with computed weights; None for others."""
    if _is_adapted(module):
        return cast(nn.Module, module.base_layer)
    layer: Any = module
    is_linear = is_plain(parametrize.type_before_parametrizations(layer))
    if not is_linear or type(layer.weight) is not Tensor:  # of others it is a parameter
        return None
    plain = nn.utils.skip_init(nn.Linear, *layer.weight.T.shape, layer.bias is not None)
    plain.weight = nn.Parameter(layer.weight.detach())
    plain.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach())
    return plain


def _is_adapted(module: nn.Module) -> bool:
    return type(module).__module__.startswith("peft.") and hasattr(module, "base_layer")


@contextmanager
def unwrapped(model: nn.Module) -> Iterator[None]:
    """Within this context, a model has the plain layers of those that users wrapped."""
    wrapped = [
        (parent, name, module, plain)
        for parent in model.modules()
        for name, module in parent.named_children()
        if (plain := inner(module)) is not None
    ]
    try:
        for parent, name, _, plain in wrapped:
            parent._modules[name] = plain
        yield
    finally:
        for parent, name, module, _ in wrapped:
            parent._modules[name] = module


def refuse_losses(model: nn.Module, names: Iterable[str]) -> None:
    """Refuse to replace modules with which more than an MLP would be lost.

    Raises:
        UserError: says what would be lost, and what to type.
    """
    for name in names:
        for part, module in model.get_submodule(name).named_modules(prefix=name):
            if loss := _lost(module):
                raise UserError(f"{part}: {loss}; or leave this layer out by layers=")


def _lost(part: nn.Module) -> str:
    kind = type(part)
    if _is_adapted(part):
        return (
            f"peft's {kind.__module__.split('.')[-2]} adapter would be lost; type model = "
            "model.merge_and_unload() before, and adapt the model with MoE layers afterwards"
        )
    if parametrize.is_parametrized(part):
        weights: Any = part.parametrizations
        return (
            f"the parametrization of {', '.join(weights)} would be lost; type "
            "torch.nn.utils.parametrize.remove_parametrizations(<layer>, "
            f"'{next(iter(weights))}') before"
        )
    if "forward" in vars(part):
        return (
            "its forward is replaced on this object, as by accelerate's hooks, which would be "
            "lost; type accelerate.hooks.remove_hook_from_module(model, recurse=True) before"
        )
    hooks = [hook for table in HOOKS for hook in vars(part)[table].values()]
    for parameter in part.parameters(recurse=False):
        for table in HOOKS_OF_WEIGHTS:
            hooks += (getattr(parameter, table, None) or {}).values()
    if not hooks:
        return ""
    named = ", ".join(getattr(hook, "__qualname__", type(hook).__name__) for hook in hooks)
    return (
        f"its hooks ({named}) would be lost; remove them before (handle.remove()), and register "
        "them on the MoE layer afterwards"
    )
