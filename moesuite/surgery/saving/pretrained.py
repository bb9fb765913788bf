"""Folders of Hugging Face models, read by transformers' own loader, which converts and shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.models.candidates import Adapter
from moesuite.nn.moe import MoE, moe_layers
from moesuite.routing.layer import ExactStatistics
from moesuite.surgery.checkpoint_format import Description
from moesuite.surgery.rebuild import rebuild
from moesuite.surgery.saving.files import WRITTEN, load_weights, read_json, readable
from moesuite.surgery.saving.marker import CONFIG, KEY, WEIGHTS, is_huggingface
from moesuite.surgery.saving.renamed import load_renamed
from moesuite.surgery.saving.ties import tie
from moesuite.surgery.weights import SHOWN, load_scalars


def load_pretrained_folder(
    folder: Path,
    description: Description,
    adapter: Adapter | None,
    like: nn.Module | None = None,
    config: Any = None,
) -> nn.Module:
    """Load what `save_pretrained` wrote of a model with MoE layers.

    The loader builds a model by calling its class, and then fills in the weights: here it calls one
    that builds the plain model and puts the MoE layers in.

    Args:
        folder: with config.json.
        description: of its layers.
        adapter: the one that `moefy` was called with.
        like: a dense model, changed in place and returned; None: one by the configuration.
        config: of the model; None: that of the folder.

    Raises:
        UserError: for files that are missing or broken, or weights that do not fit.
    """
    base: Any = _saved_class(folder, like)

    class WithLayers(base):  # type: ignore[misc]
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            model = _exact_statistics(rebuild(base(*args, **kwargs), description, adapter))
            tie(model, description.tied)
            for _, layer in moe_layers(model):
                for module in layer.modules():
                    # the model's own initialisation goes by names of classes
                    module._is_hf_initialized = True  # type: ignore[assignment]
            return model

    loader: Any = WithLayers
    with readable(folder), _quiet():
        config = base.config_class.from_pretrained(folder) if config is None else config
        for name in (WEIGHTS, KEY):  # of the folder, not of the model
            if hasattr(config, name):
                delattr(config, name)
        model, info = loader.from_pretrained(
            folder, config=config, output_loading_info=True, ignore_mismatched_sizes=True
        )
        unfit = load_scalars(model, folder, info["mismatched_keys"])
        renamed = load_renamed(model, folder, info["missing_keys"])
    missing = sorted(info["missing_keys"] - renamed.keys())
    wrong = [*(name for name in missing if not name.startswith("pooler.")), *unfit]
    if len(info["unexpected_keys"]) != len({*renamed.values()}):  # some are of other weights
        wrong += sorted([*info["unexpected_keys"], *renamed])
    for _, layer in moe_layers(model):
        for module in _exact_parts(layer).values():
            module.keep_exact()  # the loader builds all of a model in the type of weights
    if wrong:
        raise UserError(
            f"{folder}: weights that do not fit: {', '.join(wrong[:SHOWN])}; expected {WRITTEN}"
        )
    if missing:
        model.pooler = None  # it was saved without one
    return model if like is None else _filled(like, model, folder, description, adapter)


def _filled(
    model: Any, loaded: Any, folder: Path, description: Description, adapter: Adapter | None
) -> Any:
    """Put the MoE layers into a dense model, and the weights of the one that was loaded."""
    rebuild(model, description, adapter)
    tie(model, description.tied)
    if getattr(loaded, "pooler", ...) is None:
        model.pooler = None
    load_weights(model, loaded.state_dict(), folder)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loader's report of many lines to itself: what is wrong is said in one."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _exact_statistics(model: Any) -> nn.Module:
    """Make the loader read statistics in float32 where weights are in half."""
    statistics = {
        f"{name}.{part}.{buffer}"
        for name, layer in moe_layers(model)
        for part, module in _exact_parts(layer).items()
        for buffer, value in module.named_buffers()
        if value.is_floating_point()
    }
    model._keep_in_fp32_modules_strict = {*(model._keep_in_fp32_modules_strict or ()), *statistics}
    return model


def _exact_parts(layer: MoE) -> dict[str, ExactStatistics]:
    """Return the parts of a layer that have running statistics, by name."""
    parts = {"router": layer.router, "default": layer.default}
    return {name: part for name, part in parts.items() if part is not None}


def _saved_class(folder: Path, like: nn.Module | None) -> Any:
    """Return the class of transformers that a folder was saved from, or that of `like`.

    Raises:
        UserError: if transformers has no such model.
    """
    import transformers

    if like is not None:
        if not is_huggingface(like):
            raise UserError(
                f"{folder}: model={type(like).__name__} is not a model of transformers, and the "
                "saved one is; expected the dense model, e.g. transformers.BertModel(config)"
            )
        return type(like)
    listed = read_json(folder / CONFIG).get("architectures")
    name = str(listed[0] if isinstance(listed, list) and listed else listed)
    cls = getattr(transformers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)):
        raise UserError(
            f"{folder}: its class {name} is not a model of transformers; type load_moe(path, "
            "model=<such a model>)"
        )
    return cls
