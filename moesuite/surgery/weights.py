"""Weights of an earlier run as the start of another: `init=<checkpoint>`.

For example to fine-tune at a higher resolution.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.records.identity import existing
from moesuite.routing.layer import with_dimension

SHOWN = 5  # names in an error
OURS = "model."  # prefix of the names of weights in a run's checkpoint


def start_from(model: nn.Module, checkpoint: str, option: str = "init") -> None:
    """Copy the weights of a run's checkpoint into `model`.

    Position embeddings are interpolated to the size of the model's images by timm, as in
    Dosovitskiy et al. 2021, section 3.2 (https://arxiv.org/abs/2010.11929). A head that does not
    fit, for other classes or another objective, keeps its initialisation.

    Args:
        model: with its MoE layers; changed in place.
        checkpoint: file that a run wrote; only its weights are read, no optimizer, step or
            schedule.
        option: that named the file.

    Raises:
        UserError: for a file that is no checkpoint of a run, or weights that do not fit.
    """
    _, state = read_checkpoint(option, checkpoint)
    # of timm's models
    interpolate = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if interpolate is not None:
        state = interpolate(state, model)
    # of Hugging Face's models: the part that their heads share
    base = f"{getattr(model, 'base_model_prefix', '')}."
    by_short_name = {name.removeprefix(base): value for name, value in state.items()}
    targets, head = model.state_dict(), _head_prefixes(model, base)
    weights = {
        name: with_dimension(value, target)
        for name, target in targets.items()
        if (value := by_short_name.get(name.removeprefix(base))) is not None
    }
    unfit = [
        name
        for name in targets
        if name not in weights or weights[name].shape != targets[name].shape
    ]
    if wrong := [name for name in unfit if not name.startswith(head)]:
        problem = misfits({name: targets[name] for name in wrong}, weights)
        raise UserError(
            f"{option}={checkpoint}: {problem}; expected a run of the same backbone, router, "
            "layers, experts and slots (at another resolution, slots_per_token keeps their number)"
        )
    fitting = {name: value for name, value in weights.items() if name not in unfit}
    model.load_state_dict({**targets, **fitting})


def load_scalars(
    model: nn.Module, folder: Path, mismatched: Iterable[tuple[str, torch.Size, torch.Size]]
) -> list[str]:
    """Load numbers that were saved without a dimension, and return the names of other misfits.

    Args:
        model: whose parameters of shape [1] are filled in.
        folder: with the .safetensors.
        mismatched: name in the model, shape in the file and in the model of each that Hugging
            Face's loader left out.
    """
    scalars = [name for name, was, now in mismatched if (*was, *now) == (1,)]
    parameters = dict(model.named_parameters())
    for file in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(file, "pt") as state:
            for name in set(scalars) & set(state.keys()):
                parameters[name].data = state.get_tensor(name).reshape(1)
                scalars.remove(name)
    others = [name for name, was, now in mismatched if (*was, *now) != (1,)]
    return sorted([*others, *scalars])


def misfits(targets: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """Return which weights of a model are missing or of another shape; empty if all fit.

    Args:
        targets: the model's weights by name.
        weights: those to be loaded, by name.
    """
    wrong = [
        f"{name}: {tuple(weights[name].shape) if name in weights else 'missing'}, "
        f"here {tuple(target.shape)}"
        for name, target in targets.items()
        if name not in weights or weights[name].shape != target.shape
    ]
    if not wrong:
        return ""
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return f"weights that do not fit: {'; '.join(wrong[:SHOWN])}{more}"


def read_checkpoint(option: str, checkpoint: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the checkpoint of a run, and its weights by their names in the model.

    Args:
        option: that names the file, for errors.
        checkpoint: the file.

    Raises:
        UserError: for a file that is no checkpoint of a run.
    """
    path = existing(option, checkpoint)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = {
            name.removeprefix(OURS): value
            for name, value in loaded["state_dict"].items()
            if name.startswith(OURS)
        }
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError) as error:
        raise UserError(
            f"{option}={checkpoint}: no checkpoint of a run ({str(error).splitlines()[0]}); "
            "expected last.ckpt in the folder of a record"
        ) from None
    if not state:
        raise UserError(
            f"{option}={checkpoint}: no weights of a run in it; expected last.ckpt in the folder "
            "of a record"
        )
    return loaded, state


def _head_prefixes(model: Any, base: str) -> tuple[str, ...]:
    """Return the prefixes of the names of the head's weights."""
    if hasattr(model, "get_classifier"):
        classifier = model.get_classifier()
        # distilled models have two
        heads = classifier if isinstance(classifier, tuple) else (classifier,)
        return tuple(
            f"{name}."
            for name, module in model.named_modules()
            if any(module is head for head in heads)
        )
    names = list(model.state_dict())
    if not any(name.startswith(base) for name in names):
        return ()  # a model without a head
    outside = {f"{name.split('.')[0]}." for name in names} - {base}
    return (*outside, f"{base}pooler.")  # BERT's pooler is made for classification
