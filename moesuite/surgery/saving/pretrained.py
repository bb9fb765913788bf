"""Folders of Hugging Face models, read by transformers' own loader, which converts and shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.models.candidates import Adapter
from moesuite.nn.moe import moe_layers
from moesuite.surgery.checkpoint_format import Description
from moesuite.surgery.rebuild import rebuild
from moesuite.surgery.saving.marker import WEIGHTS


def load_pretrained_folder(
    folder: Path, description: Description, base: Any, adapter: Adapter | None
) -> tuple[nn.Module, Mapping[str, Any]]:
    """Load what `save_pretrained` wrote of a model with MoE layers.

    The loader builds a model by calling its class, and then fills in the weights: here it calls one
    that builds the plain model and puts the MoE layers in.

    Args:
        folder: with config.json.
        description: of its layers.
        base: the class that it was saved from.
        adapter: the one that `moefy` was called with.

    Returns:
        The model, and what the loader says of missing, unexpected and mismatched weights.
    """

    class WithLayers(base):  # type: ignore[misc]
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return _exact_statistics(rebuild(base(*args, **kwargs), description, adapter))

    config = base.config_class.from_pretrained(folder)
    if hasattr(config, WEIGHTS):
        delattr(config, WEIGHTS)
    loader: Any = WithLayers
    model, info = loader.from_pretrained(
        folder, config=config, output_loading_info=True, ignore_mismatched_sizes=True
    )
    for _, layer in moe_layers(model):
        layer.router.keep_exact()  # the loader builds all of a model in the type of weights
    return model, info


def _exact_statistics(model: Any) -> nn.Module:
    """Make the loader read the routers' statistics in float32 where weights are in half."""
    statistics = {
        f"{name}.router.{buffer}"
        for name, layer in moe_layers(model)
        for buffer, value in layer.router.named_buffers()
        if value.is_floating_point()
    }
    model._keep_in_fp32_modules_strict = {*(model._keep_in_fp32_modules_strict or ()), *statistics}
    return model


def saved_class(folder: Path, config: Mapping[str, Any], like: nn.Module | None) -> Any:
    """Return the class of transformers that a folder was saved from, or that of `like`.

    Raises:
        UserError: if transformers has no such model.
    """
    import transformers

    if like is not None:
        return type(like)
    name = str((config.get("architectures") or ["none"])[0])
    cls = getattr(transformers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)):
        raise UserError(
            f"{folder}: its class {name} is not a model of transformers; type load_moe(path, "
            "model=<such a model>)"
        )
    return cls
