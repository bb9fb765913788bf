"""Folders of sentence-transformers: a list of modules, of which some are models with MoE layers."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.nn.moe import moe_layers
from moesuite.surgery.saving.files import readable

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
LoadPart = Callable[[Path, Any], nn.Module]  # from folder and configuration


def is_sentence_transformer(model: Any) -> bool:
    """Return whether this is a model of sentence-transformers, or one that derives from it."""
    library: Any = sys.modules.get("sentence_transformers")
    return library is not None and isinstance(model, library.base.model.BaseModel)


def parts_of(model: Any) -> dict[str, nn.Module]:
    """Return the Hugging Face models with MoE layers of its modules, by their folder in a save."""
    parts = {}
    for index, module in enumerate(model):
        part = getattr(module, "auto_model", None)
        if isinstance(part, nn.Module) and any(moe_layers(part)):
            in_root = index == 0 and getattr(module, "save_in_root", False)
            parts["" if in_root else f"{index}_{type(module).__name__}"] = part
    return parts


def load_sentence_transformer(folder: Path, load_part: LoadPart) -> Any:
    """Load a folder of sentence-transformers.

    Args:
        folder: with modules.json.
        load_part: loads the models with MoE layers.

    Raises:
        UserError: for files that are broken, or a library that is missing.
    """
    try:
        import sentence_transformers
        from sentence_transformers.base.modules import Transformer
    except ImportError:
        raise UserError(
            f"{folder}: a model of sentence-transformers; type pip install sentence-transformers"
        ) from None

    class WithLayers(Transformer):
        """Loads its model by `load_part` where it has MoE layers."""

        def _load_model(
            self,
            model_name_or_path: str,
            transformer_task: Any,
            config: Any,
            *arguments: Any,
            **options: Any,
        ) -> Any:
            if getattr(config, "moesuite", None) is None:
                return super()._load_model(
                    model_name_or_path, transformer_task, config, *arguments, **options
                )
            return load_part(Path(model_name_or_path) / options.get("subfolder", ""), config)

    with readable(folder):
        kind = json.loads((folder / SETTINGS).read_text(encoding="utf-8")).get("model_type")
        listed = json.loads((folder / MODULES).read_text(encoding="utf-8"))
        cls: Any = getattr(sentence_transformers, kind or "SentenceTransformer")
        names = [entry["type"] for entry in listed if _is(entry["type"], Transformer)]
        model = cls._load_with_module_classes(str(folder), dict.fromkeys(names, WithLayers))
    for module in model:
        if isinstance(module, WithLayers):
            module.__class__ = Transformer
    return model.eval()


def _is(name: str, cls: type) -> bool:
    """Return whether a name of modules.json is that of a class."""
    home, _, last = name.rpartition(".")
    if not home.startswith("sentence_transformers."):
        return False
    return getattr(importlib.import_module(home), last, None) is cls
