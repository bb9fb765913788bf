"""Save and load models with MoE layers: weights, and the description that rebuilds the layers.

See `moesuite.surgery.checkpoint_format` for the description.

save_moe(model, "folder")      safetensors and JSON; Hugging Face models by their `save_pretrained`
save_moe(model, "model.pt")    one torch file, which loads with weights_only=True
model = load_moe("folder")     or "model.pt", or the last.ckpt of a run
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from moesuite.config.options import as_path, checked
from moesuite.errors import UserError
from moesuite.models.backbones import from_recipe, recipe_of
from moesuite.models.candidates import Adapter
from moesuite.records.store import write_text
from moesuite.routing.layer import with_dimension
from moesuite.surgery.checkpoint_format import FORMAT, Description, describe
from moesuite.surgery.rebuild import rebuild
from moesuite.surgery.saving.marker import KEY
from moesuite.surgery.saving.pretrained import load_pretrained_folder, saved_class
from moesuite.surgery.weights import OURS, SHOWN, load_scalars, misfits

BESIDE = "moesuite.json"  # in the folder of a model that is not of Hugging Face
WRITTEN = (
    "what save_moe or save_pretrained wrote of a model with MoE layers, or the last.ckpt of a run"
)


@dataclass(frozen=True)
class SavedModel:
    """A saved model: its description, the recipe of the dense model or None, and its weights."""

    description: Description
    dense: dict[str, Any] | None
    state: Mapping[str, Tensor]


def contents(model: nn.Module) -> dict[str, Any]:
    """Return description and recipe of a model, as plain values."""
    return {**describe(model).model_dump(), "dense": recipe_of(model)}


def save_moe(model: Any, path: str | Path) -> None:
    """Write a model, and the description of its MoE layers.

    Args:
        model: of timm, Hugging Face, or any other with MoE layers of `moefy`, `upcycle` or
            `reroute`.
        path: a folder, created if missing, for safetensors; or a file ending in .pt, for torch.
    """
    path = Path(path)
    if path.suffix == ".pt":
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({KEY: contents(model), "state_dict": model.state_dict()}, path)
    elif hasattr(model, "save_pretrained"):
        model.save_pretrained(path)
    else:
        path.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_model(model, str(path / "model.safetensors"))
        write_text(path / BESIDE, json.dumps(contents(model), indent=1) + "\n")


def load_moe(
    path: str | Path, model: nn.Module | None = None, adapter: Adapter | None = None
) -> nn.Module:
    """Rebuild a saved model with its MoE layers and weights, in evaluation mode.

    Args:
        path: what `save_moe` or `save_pretrained` wrote, or a checkpoint of a run.
        model: a dense model of the same architecture, changed in place, if the file does not say
            how to build it.
        adapter: the one that `moefy` was called with.

    Raises:
        UserError: for a path without a description, one of another format, or weights that do not
            fit.
    """
    path = as_path(path)
    if (path / "config.json").is_file():
        return _from_pretrained(path, adapter, model)
    saved = _read(path)
    if model is None:
        model = _dense_model(saved, path)
    rebuild(model, saved.description, adapter)
    _load_weights(model, saved.state, path)
    return model.eval()


def _dense_model(saved: SavedModel, path: Path) -> nn.Module:
    """Build the dense model of a saved one, with random weights."""
    if saved.dense is None:
        raise UserError(
            f"{path}: how to build the dense model is not known; type load_moe(path, "
            "model=<the model>)"
        )
    model: Any = from_recipe(saved.dense)
    has_pooler = any(name.startswith("pooler.") for name in saved.state)
    if getattr(model, "pooler", None) is not None and not has_pooler:
        model.pooler = None  # as where text is embedded
    return model


def _read(path: Path) -> SavedModel:
    """Read a folder of safetensors or a torch file."""
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder; expected {WRITTEN}")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = loaded["state_dict"]
        if "pytorch-lightning_version" in loaded:
            state = {
                name.removeprefix(OURS): value
                for name, value in state.items()
                if name.startswith(OURS)
            }
        return SavedModel(*_checked_description(path, loaded.get(KEY)), state)
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError) as error:
        raise UserError(
            f"{path}: not readable ({str(error).splitlines()[0]}); expected {WRITTEN}"
        ) from None


def _read_folder(folder: Path) -> SavedModel:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"{folder}: no .safetensors in this folder; expected {WRITTEN}")
    state: dict[str, Tensor] = {}
    for file in files:
        state |= safetensors.torch.load_file(file)
    beside = folder / BESIDE
    about = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else None
    return SavedModel(*_checked_description(folder, about), state)


def _from_pretrained(folder: Path, adapter: Adapter | None, like: nn.Module | None) -> nn.Module:
    """Load what `save_pretrained` wrote."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    description, _ = _checked_description(folder, config.get(KEY))
    base = saved_class(folder, config, like)
    model, info = load_pretrained_folder(folder, description, base, adapter)
    host: Any = model
    unfit = load_scalars(model, folder, info["mismatched_keys"])
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if wrong := [*missing, *sorted(info["unexpected_keys"]), *unfit]:
        raise UserError(
            f"{folder}: weights that do not fit: {', '.join(wrong[:SHOWN])}; expected {WRITTEN}"
        )
    if len(info["missing_keys"]) > len(missing):
        host.pooler = None  # it was saved without one
    return model.eval()


def _checked_description(
    path: Path, about: dict[str, Any] | None
) -> tuple[Description, dict[str, Any] | None]:
    """Return the description and the recipe of the dense model.

    Raises:
        UserError: if there is no description, or one of another format.
    """
    if about is None:
        problem = "without a description of MoE layers"
    elif about.get("format") != FORMAT:
        problem = f"of form {about.get('format')}"
    else:
        values = {key: value for key, value in about.items() if key != "dense"}
        return checked(Description, values, str(path)), about.get("dense")
    raise UserError(
        f"{path}: weights {problem}, from before form {FORMAT} or not of moesuite; expected "
        f"{WRITTEN}; build the model as it was built then, load the weights by load_state_dict, "
        "and type save_moe(model, path)"
    )


def _load_weights(model: Any, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy weights into `model`; a tied weight, which has several names, is saved once."""
    targets = model.state_dict()
    tied = {value.data_ptr(): state[name] for name, value in targets.items() if name in state}
    weights: dict[str, Tensor] = {}
    for name, target in targets.items():
        value = state.get(name, tied.get(target.data_ptr()))
        if value is not None:
            weights[name] = with_dimension(value, target)
    if wrong := misfits(targets, weights):
        raise UserError(
            f"{path}: {wrong}; expected weights of the described model; type "
            "model=<the dense model>"
        )
    _refuse_foreign(state.keys() - targets.keys(), path)
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(weights[name].dtype)  # as it was saved
    model.load_state_dict(weights)


def _refuse_foreign(names: Iterable[str], path: str | Path) -> None:
    if foreign := sorted(names):
        raise UserError(
            f"{path}: weights that the described model does not have: {', '.join(foreign[:SHOWN])}"
        )
