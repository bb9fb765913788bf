"""Padding: each row of a padded batch gives what it gives alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from moesuite.support.small.subject import Subject, answers_of, differences

Call = Callable[[Any, Any], list[Tensor]]
PADS = 4  # of the shorter row
TEXT = {"input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask"}


def padding_faults(subject: Subject, changed: Callable[[], Any], tolerance: float) -> Iterator[str]:
    """Yield what is wrong with a padded batch of a text model.

    Args:
        subject: the model as it was.
        changed: returns the model with MoE layers, whose router's choice depends on padding if it
            is not told of it.
        tolerance: largest difference, relative to the largest number of the answer.
    """
    inputs = subject.inputs
    if not isinstance(inputs, dict) or not {"input_ids", "attention_mask"} <= inputs.keys() <= TEXT:
        return
    padded, alone = _batches(inputs)
    if _apart(subject.model, answers_of, padded, alone) > tolerance:
        return  # the dense model itself reads padding
    model = changed().eval()
    ways: dict[str, Call] = {"padded batch": answers_of}
    names = list(inspect.signature(model.forward).parameters)
    if names[:2] == ["input_ids", "attention_mask"] and len(inputs) == 2:
        ways["padded batch by position"] = _by_position
    for what, way in ways.items():
        if not (gap := _apart(model, way, padded, alone)) <= tolerance:
            yield f"{what} against the row alone: {gap:.1e} apart"


def _by_position(model: Any, batch: dict[str, Tensor]) -> list[Tensor]:
    with torch.no_grad():
        return [model(batch["input_ids"], batch["attention_mask"])[0]]


def _batches(inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the batch with its second row padded, and that row alone."""
    length = inputs["input_ids"].shape[1] - PADS
    padded = {key: value.clone() for key, value in inputs.items()}
    padded["attention_mask"][1, length:] = 0
    alone = {key: value[1:] for key, value in inputs.items()}
    for key in ("input_ids", "attention_mask"):
        alone[key] = alone[key][:, :length]
    return padded, alone


def _apart(model: Any, way: Call, padded: dict[str, Tensor], alone: dict[str, Tensor]) -> float:
    row, batch = way(model, alone)[0], way(model, padded)[0][1:]
    if row.ndim >= 2 and batch.ndim == row.ndim:
        batch = batch[:, : row.shape[1]]
    return differences([batch], [row])
