"""Causality: no output depends on a later token, in groups of several lengths and both modes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from moesuite.certify.harness import Subject, difference, output
from moesuite.certify.isolation import TOLERANCE
from moesuite.nn.moe import MoE
from moesuite.records.certificate import Check

USUAL = 24
LENGTHS = (USUAL, 5, 64, 128, 257)
# of later tokens, group by group: a router may react to large ones only
SCALES = (1.0, 10.0, 1e-3)
MANY = 512  # tokens of a group from which on one group is enough


@dataclass(frozen=True)
class Mode:
    """How a layer is called: in training, in evaluation, or there with the slots of training."""

    label: str
    training: bool = False
    tight: bool = False


TRAINING, EVALUATION = Mode("training", training=True), Mode("evaluation")
TIGHT = Mode("evaluation under eval_slots_per_token", tight=True)


def causal(subject: Subject, lengths: Sequence[int] = LENGTHS) -> Check:
    """No output depends on a later token, at all `lengths`, with ample and binding capacity."""
    leaks, largest = dict[str, int](), 0.0
    for mode in (EVALUATION, TRAINING, TIGHT):
        if mode.tight and (EVALUATION.label in leaks or not subject.takes_evaluation_slots()):
            continue  # already reported, or the router has no such mode
        length, figure = _first_leak(subject, mode, lengths)
        largest = max(largest, figure)
        if length is not None:
            leaks[mode.label] = length
    claimed = bool(subject.layer().router.causal)
    return Check(holds=not leaks, claimed=claimed, figure=largest, detail=_sentence(leaks))


def _sentence(leaks: Mapping[str, int]) -> str:
    """Return e.g. "leaks in evaluation and training at length 24", or an empty string."""
    by_length: dict[int, list[str]] = {}
    for mode, length in leaks.items():
        by_length.setdefault(length, []).append(mode)
    places = [f"in {' and '.join(modes)} at length {length}" for length, modes in by_length.items()]
    return f"leaks {', '.join(places)}" if places else ""


def _first_leak(subject: Subject, mode: Mode, lengths: Sequence[int]) -> tuple[int | None, float]:
    """Return the first length that leaks, or None, and the largest difference up to it."""
    largest = 0.0
    for length in lengths:
        for layer in _layers(subject, length, mode):
            largest = max(largest, _leak(subject, layer, mode.training, length))
            if largest >= TOLERANCE:
                return length, largest
    return None, largest


def _layers(subject: Subject, length: int, mode: Mode) -> Iterator[MoE]:
    """Yield layers to try; more of them at the usual length."""
    usual = length == subject.tokens
    for factor in (0.5,) if mode.tight else (0.5, 1.0):
        budget = factor * subject.slots_per_token
        for sharp in (1.0, 0.1) if usual else (1.0,):  # sure of one expert; open to several
            yield subject.layer(None, budget, sharp, budget if mode.tight else None, length)


def _leak(subject: Subject, layer: MoE, training: bool, length: int) -> float:
    """Return how much earlier outputs change with later tokens, at several cuts."""
    groups = 1 if length >= MANY else subject.groups
    x, other = (subject.inputs(s, tokens=length)[:groups] for s in (1, 4))
    scales = torch.tensor(SCALES, device=x.device).repeat(len(x))[: len(x), None, None]
    before, other, figures = output(layer, x, training), scales * other, []
    for cut in sorted({1, length // 2, length - 1} - {0}):
        changed = torch.cat([x[:, :cut], other[:, cut:]], dim=1)
        alike = torch.cat([x[:, :cut], x[:, :1].expand(-1, length - cut, -1)], dim=1)
        for after in (changed, alike) if length == subject.tokens else (changed,):
            figures.append(difference(output(layer, after, training)[:, :cut], before[:, :cut]))
    return max(figures)
