"""Weights of an earlier run as the start of another, as for fine-tuning at a higher resolution: `init=<checkpoint>`."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.records.identity import existing

SHOWN = 5  # names of weights that do not fit
OURS = "model."  # what a run's checkpoint puts before the names of weights


def start_from(model: nn.Module, checkpoint: str, option: str = "init") -> None:
    """Copy the weights of a run's checkpoint into `model`.

    Positions are interpolated to the size of the model's images by timm, as in Dosovitskiy et al.
    2021, section 3.2 (https://arxiv.org/abs/2010.11929). A head that does not fit, as for other
    classes or another objective, stays new.

    Args:
        model: with its MoE layers; changed in place.
        checkpoint: file that a run left behind; only its weights are read, no optimizer, step or
            schedule.
        option: that named it.

    Raises:
        UserError: for a file that is no checkpoint of a run, or weights that do not fit.
    """
    _, state = read_checkpoint(option, checkpoint)
    fit = getattr(
        sys.modules[type(model).__module__], "checkpoint_filter_fn", None
    )  # of a timm model
    if fit is not None:
        state = fit(state, model)
    # of a Hugging Face model: what its heads share
    base = f"{getattr(model, 'base_model_prefix', '')}."
    given = {name.removeprefix(base): value for name, value in state.items()}
    own, head = model.state_dict(), _head(model, base)
    taken = {
        name: value for name in own if (value := given.get(name.removeprefix(base))) is not None
    }
    unfit = [name for name in own if name not in taken or taken[name].shape != own[name].shape]
    if wrong := [name for name in unfit if not name.startswith(head)]:
        raise UserError(
            f"{option}={checkpoint}: {misfits({name: own[name] for name in wrong}, taken)}; allowed: a run of the same "
            "backbone, router, layers, experts and slots (at another resolution, slots_per_token keeps their number)"
        )
    model.load_state_dict(
        {**own, **{name: value for name, value in taken.items() if name not in unfit}}
    )


def misfits(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Return which of the weights `own` of a model are missing in `given` or of another shape, the first five by name.

    Empty if all fit.
    """
    wrong = [
        f"{name}: {tuple(given[name].shape) if name in given else 'missing'}, here {tuple(value.shape)}"
        for name, value in own.items()
        if name not in given or given[name].shape != value.shape
    ]
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return f"weights that do not fit: {'; '.join(wrong[:SHOWN])}{more}" if wrong else ""


def read_checkpoint(option: str, checkpoint: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the checkpoint of a run that `option` names, and the weights in it by their names in the model.

    Raises:
        UserError: for a file that is none.
    """
    path = existing(option, checkpoint)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        found = {
            name.removeprefix(OURS): value
            for name, value in loaded["state_dict"].items()
            if name.startswith(OURS)
        }
    except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError) as error:
        raise UserError(
            f"{option}={checkpoint}: no checkpoint of a run ({str(error).splitlines()[0]}); allowed: last.ckpt in the "
            "folder of a record"
        ) from None
    if not found:
        raise UserError(
            f"{option}={checkpoint}: no weights of a run in it; allowed: last.ckpt in the folder of a record"
        )
    return loaded, found


def _head(model: Any, base: str) -> tuple[str, ...]:
    """Return what the names of the head's weights begin with."""
    if hasattr(model, "get_classifier"):
        found = model.get_classifier()
        heads = found if isinstance(found, tuple) else (found,)  # distilled models have two
        return tuple(
            f"{name}."
            for name, module in model.named_modules()
            if any(module is head for head in heads)
        )
    outside = {f"{name.split('.')[0]}." for name in model.state_dict()} - {base}
    whole = not any(name.startswith(base) for name in model.state_dict())  # a model without a head
    return () if whole else (*outside, f"{base}pooler.")  # BERT's is made for classification
