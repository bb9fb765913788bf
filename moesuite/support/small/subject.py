"""A small model to try things on: with weights that show, and an input that it takes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.models.forward import call, evaluating
from moesuite.support.small import hf_inputs, hf_models, timm_models

Inputs = Tensor | dict[str, Tensor]


class NotBuilt(Exception):
    """No small model of a family can be built and called."""


@dataclass(frozen=True)
class Subject:
    """A dense model, never changed, an input, and its answers to it."""

    model: Any
    inputs: Inputs
    answers: list[Tensor]

    def copy(self) -> Any:
        """Return a copy of the model, to be changed."""
        return copy.deepcopy(self.model)


def build(library: str, name: str) -> Subject:
    """Build a small model of a family of timm or of a model type of transformers.

    Raises:
        NotBuilt: if there is none that can be called.
    """
    zoo: Any = timm_models if library == "timm" else hf_models
    inputs_of: Callable[[Any], Iterator[Inputs]]
    inputs_of = timm_models.inputs_of if library == "timm" else hf_inputs.inputs_of
    why = "no input of it is known"
    for builder in zoo.builders(name):
        try:
            model = builder().eval()
        except Exception as error:
            why = f"build: {first_line(error)}"
            continue
        for inputs in inputs_of(model):
            try:
                return _subject(model, inputs)
            except Exception as error:
                why = f"call: {first_line(error)}"
    raise NotBuilt(why)


def _subject(model: nn.Module, inputs: Inputs) -> Subject:
    answers_of(model, inputs)
    plain = copy.deepcopy(model.state_dict())
    randomise(model)
    answers = answers_of(model, inputs)
    if not all(bool(each.isfinite().all()) for each in answers):
        model.load_state_dict(plain)
        answers = answers_of(model, inputs)
    if not answers:
        raise ValueError("its output has no numbers")
    if differences(answers, answers_of(model, inputs)) > 0:
        raise ValueError("its output changes from call to call")
    return Subject(model, inputs, answers)


@torch.no_grad()
def randomise(model: nn.Module) -> None:
    """Redraw weights so that signals stay near 1 and no part of the model hides behind another.

    As they are initialised, MLPs add a thousandth of their input and biases nothing: a part that
    is read wrongly would not show.
    """
    random = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=random)
        if not parameter.is_floating_point() or not parameter.requires_grad:
            continue  # fixed ones, such as positions, are no weights of a checkpoint
        if parameter.ndim < 2:
            parameter.add_(noise, alpha=0.1)
        else:
            fan_in = parameter.shape[1:].numel() if parameter.ndim != 3 else parameter.shape[-1]
            parameter.copy_(noise / max(1, fan_in) ** 0.5)


def answers_of(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """Return the numbers of a model's output, in evaluation mode and without gradients."""
    torch.manual_seed(0)
    with evaluating(model), torch.no_grad():
        return [each.clone() for each in numbers(call(model, inputs))]


def numbers(output: Any) -> list[Tensor]:
    """Return the tensors of real numbers in an output, in its order."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() and output.numel() else []
    if hasattr(output, "values"):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return [tensor for each in output for tensor in numbers(each)]
    return []


def differences(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Return the largest difference, relative to the largest of `theirs`; infinite if unlike."""
    if [each.shape for each in ours] != [each.shape for each in theirs]:
        return float("inf")
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        gap = torch.where(a == b, 0.0, a - b).abs().max().item()
        scale = b[b.isfinite()].abs().max().item() if bool(b.isfinite().any()) else 1.0
        worst = max(worst, gap / max(scale, 1e-12)) if gap == gap else float("inf")
    return worst


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
