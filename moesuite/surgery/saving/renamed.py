"""Weights that transformers renames at saving and does not rename back at loading.

Its patterns are made for the original model, and take a router's weight for another: PhiMoE's
".gate.weight" becomes ".router.weight". Of models around models some are not undone at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor


@torch.no_grad()
def load_renamed(model: Any, folder: Path, missing: Iterable[str]) -> dict[str, str]:
    """Load weights that the loader did not find, and return their names in the files by name.

    Args:
        model: as it was loaded.
        folder: with the .safetensors.
        missing: names of the weights.
    """
    state = model.state_dict()
    wanted = {name: state[name] for name in missing if name in state}
    written = {name: _written_names(model, name, value) for name, value in wanted.items()}
    loaded: dict[str, str] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(file, "pt") as stored:
            keys = set(stored.keys())
            for name in written.keys() - loaded.keys():
                for key in written[name] & keys:
                    if stored.get_slice(key).get_shape() == list(wanted[name].shape):
                        wanted[name].copy_(stored.get_tensor(key))
                        loaded[name] = key
    places = {wanted[name].data_ptr(): key for name, key in loaded.items()}
    tied = {name: places.get(value.data_ptr()) for name, value in wanted.items()}
    return {name: key for name, key in tied.items() if key is not None}


def _written_names(model: Any, name: str, value: Tensor) -> set[str]:
    """Return the names that `save_pretrained` may have given to a weight."""
    from transformers.core_model_loading import revert_weight_conversion

    loaded_by, names = model._weight_conversions, {name}
    for conversions in (loaded_by, None):  # None: the saved model was not loaded but built
        model._weight_conversions = conversions
        names |= revert_weight_conversion(model, {name: value}).keys()
    model._weight_conversions = loaded_by
    return names
