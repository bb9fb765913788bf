"""Save and load models with MoE layers: weights, and beside them what rebuilds the layers.

See `moesuite.surgery.checkpoint_format` for the latter.

save_moe(model, "folder")      safetensors, and JSON beside; of Hugging Face's models by their own `save_pretrained`
save_moe(model, "model.pt")    one file of torch, that loads weights-only
model = load_moe("folder")     or "model.pt", or the last.ckpt of a run
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from moesuite.config.options import checked
from moesuite.errors import UserError
from moesuite.models.backbones import from_recipe, recipe_of
from moesuite.models.candidates import Adapter, candidates
from moesuite.models.hf_moe import OWN, OriginalRouter
from moesuite.nn.moe import RoutingContext
from moesuite.records.store import write_text
from moesuite.routers import build_router
from moesuite.surgery.checkpoint_format import FORMAT, Description, describe
from moesuite.surgery.moefy import attach, install, put
from moesuite.surgery.reroute import chosen_blocks, rerouted
from moesuite.surgery.weights import OURS, SHOWN, misfits

BESIDE = "moesuite.json"  # in a folder of a model that is not Hugging Face's
KEY = "moesuite"  # of the description, in files of torch and in config.json
WRITTEN = (
    "what save_moe or save_pretrained wrote of a model with MoE layers, or the last.ckpt of a run"
)


@dataclass(frozen=True)
class Saved:
    """What was read: the description, the recipe of the dense model if it is known, and weights by name."""

    description: Description
    dense: dict[str, Any] | None
    state: Mapping[str, Tensor]


def contents(model: nn.Module) -> dict[str, Any]:
    """Return description and recipe of a model, as plain values."""
    return {**describe(model).model_dump(), "dense": recipe_of(model)}


def save_moe(model: Any, path: str | Path) -> None:
    """Write a model and what builds its MoE layers anew.

    Args:
        model: of timm, Hugging Face, or any other with MoE layers of `moefy`, `upcycle` or
            `reroute`.
        path: a folder, made where it is missing, for safetensors; or a file ending in .pt, for
            torch.
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
    """Build a saved model anew, with its MoE layers and weights, in evaluation.

    Args:
        path: what `save_moe` or `save_pretrained` wrote, or a checkpoint of a run.
        model: a dense model of the same architecture, changed in place, where the file does not say
            how to build it.
        adapter: as it was for `moefy`.

    Raises:
        UserError: for a path without a description, one of another form, or weights that do not
            fit.
    """
    path = Path(path).expanduser()
    if (path / "config.json").is_file():
        return _as_saved(path, adapter, model)
    saved = _read(path)
    if model is None:
        if saved.dense is None:
            raise UserError(
                f"{path}: how to build the dense model is not known; type load_moe(path, model=<the model>)"
            )
        built: Any = from_recipe(saved.dense)
        if getattr(built, "pooler", None) is not None and not any(
            name.startswith("pooler.") for name in saved.state
        ):
            built.pooler = None  # as where text is embedded
        model = built
    rebuild(model, saved.description, adapter)
    _take(model, saved.state, path)
    return model.eval()


def rebuild(
    model: nn.Module, description: Description, adapter: Adapter | None = None
) -> nn.Module:
    """Put the described MoE layers, not yet with their weights, into a dense or a Hugging Face MoE model, in place.

    Raises:
        UserError: if a layer has no MLP in this model.
    """
    layers = {name: layer for name, layer in description.layers.items() if not layer.rerouted}
    found = {candidate.name: candidate for candidate in candidates(model, adapter)}
    if missing := [name for name in layers if name not in found]:
        raise UserError(
            f"no MLP at {', '.join(missing)}; allowed: a model of the saved architecture"
        )
    for renormalise in (False, True):
        names = [name for name, layer in layers.items() if layer.renormalise is renormalise]
        routers = [
            build_router(layers[name].router, layers[name].spec, layers[name].options)
            for name in names
        ]
        if names:
            install(model, [found.pop(name) for name in names], routers, renormalise)
    if names := [name for name, layer in description.layers.items() if layer.rerouted]:
        context = RoutingContext()
        for block in chosen_blocks(model, names):
            layer = description.layers[block.name]
            own = layer.router == OWN
            router = (
                OriginalRouter(layer.spec, block.gate)
                if own
                else build_router(layer.router, layer.spec, layer.options)
            )
            put(model, block.name, rerouted(block, router, layer.renormalise), context)
        attach(model, context)
    return model


def _read(path: Path) -> Saved:
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if not files:
            raise UserError(f"{path}: no .safetensors in this folder; allowed: {WRITTEN}")
        state = {
            name: value
            for file in files
            for name, value in safetensors.torch.load_file(file).items()
        }
        if (path / BESIDE).is_file():
            return _saved(path, json.loads((path / BESIDE).read_text()), state)
        return _saved(path, None, state)
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder; allowed: {WRITTEN}")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = loaded["state_dict"]
        if "pytorch-lightning_version" in loaded:
            state = {
                name.removeprefix(OURS): value
                for name, value in state.items()
                if name.startswith(OURS)
            }
        return _saved(path, loaded.get(KEY), state)
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError) as error:
        raise UserError(
            f"{path}: not readable ({str(error).splitlines()[0]}); allowed: {WRITTEN}"
        ) from None


def _as_saved(folder: Path, adapter: Adapter | None, like: nn.Module | None) -> nn.Module:
    """Load what `save_pretrained` wrote by Hugging Face's own loader, which knows how it names and splits weights.

    A class of the moment builds the MoE layers where the loader builds the model.
    """
    import transformers

    config = json.loads((folder / "config.json").read_text())
    described = _saved(folder, config.get(KEY), {}).description
    name = (config.get("architectures") or ["none"])[0]
    base: Any = getattr(transformers, name, None) if like is None else type(like)
    if base is None:
        raise UserError(
            f"{folder}: its class {name} is not one of transformers; type load_moe(path, model=<such a model>)"
        )

    def build(self: Any, *args: Any, **kwargs: Any) -> None:
        base.__init__(self, *args, **kwargs)
        rebuild(self, described, adapter)

    cls: Any = type(base.__name__, (base,), {"__init__": build, "__module__": base.__module__})
    model, found = cls.from_pretrained(folder, output_loading_info=True)
    model.__class__ = base
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if wrong := [*missing, *sorted(found["unexpected_keys"])]:
        raise UserError(
            f"{folder}: weights that do not fit: {', '.join(wrong[:SHOWN])}; allowed: {WRITTEN}"
        )
    if len(found["missing_keys"]) > len(missing):
        model.pooler = None  # it was saved without one
    return model.eval()


def _saved(path: Path, about: dict[str, Any] | None, state: Mapping[str, Tensor]) -> Saved:
    """Check a description."""
    if about is None or about.get("format") != FORMAT:
        found = (
            "without a description of MoE layers"
            if about is None
            else f"of form {about.get('format')}"
        )
        raise UserError(
            f"{path}: weights {found}, from before form {FORMAT} or not of moesuite; allowed: {WRITTEN}; build the "
            "model as it was built then, load the weights by load_state_dict, and type save_moe(model, path)"
        )
    dense = about.get("dense")
    described = checked(
        Description, {key: value for key, value in about.items() if key != "dense"}, str(path)
    )
    return Saved(described, dense, state)


def _take(model: Any, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy weights into `model`; names of one and the same weight, as of tied embeddings, are saved once."""
    own = model.state_dict()
    tied = {value.data_ptr(): state[name] for name, value in own.items() if name in state}
    found = {name: state.get(name, tied.get(value.data_ptr())) for name, value in own.items()}
    given = {name: value for name, value in found.items() if value is not None}
    if wrong := misfits(own, given):
        raise UserError(
            f"{path}: {wrong}; allowed: weights of the described model; type model=<the dense model>"
        )
    if foreign := sorted(state.keys() - own.keys()):
        raise UserError(
            f"{path}: weights that the described model does not have: {', '.join(foreign[:5])}"
        )
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(given[name].dtype)  # as it was saved
    model.load_state_dict(given)
