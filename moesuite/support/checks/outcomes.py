"""What is checked of a model, and what came of it."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.nn.moe import moe_layers
from moesuite.support.checks.losses import loss_faults, recomputed_faults
from moesuite.support.checks.padding import padding_faults
from moesuite.support.result import Outcome, Status
from moesuite.support.small.subject import Inputs, Subject, answers_of, differences, first_line
from moesuite.surgery.checkpoint import load_moe, save_moe
from moesuite.surgery.moefy import moefy
from moesuite.surgery.reroute import reroute
from moesuite.surgery.upcycle import upcycle

EXPERTS = 4
TOLERANCE = 1e-4  # relative to the largest number of an answer
NEEDS_EXAMPLE = "example="


class RefusedAtOnce(Exception):
    """A model that cannot be saved, and that `save_moe` says so of before it writes."""


def try_upcycle(subject: Subject) -> Outcome:
    """Make MoE layers of every MLP, and check the model."""
    return _guarded(_upcycled, subject)


def try_reroute(subject: Subject) -> Outcome:
    """Change the routers of a model that is a mixture of experts, and check it."""
    return _guarded(_rerouted, subject)


def _guarded(surgery: Callable[[Subject], Outcome], subject: Subject) -> Outcome:
    try:
        return surgery(subject)
    except UserError as error:
        return Outcome(status="refused", detail=str(error))
    except Exception as error:
        if _out_of_memory(error):
            return Outcome(status="unsupported", detail="needs more than memory_gb=")
        return Outcome(status="crash", detail=f"surgery: {_place(error)}")


def _out_of_memory(error: Exception) -> bool:
    """Return whether a trial went beyond its memory, which is no fault of the model."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error)


def _place(error: Exception) -> str:
    """Return an error in one line, with the place in our code."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "moesuite" in f.filename and "/support/" not in f.filename]
    where = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"{first_line(error)}{where}"


def _upcycled(subject: Subject) -> Outcome:
    options: dict[str, Any] = {"num_experts": EXPERTS, "layers": "all", "renormalise": True, "k": 2}
    note = ""
    try:
        model, _ = upcycle(subject.copy(), "token_choice", **options)
    except UserError as error:
        if NEEDS_EXAMPLE not in str(error):
            raise
        note = "needs example="
        model, _ = upcycle(subject.copy(), "token_choice", example=subject.inputs, **options)
    by_expert_choice = partial(_moefied, subject, "expert_choice")
    checks: dict[str, Callable[[], Iterator[str]]] = {
        "upcycled": lambda: _apart(answers_of(model, subject.inputs), subject.answers),
        "save": lambda: saving_faults(model, subject.inputs),
        "padding": lambda: padding_faults(subject, by_expert_choice, TOLERANCE),
        "token_choice": lambda: loss_faults(model, subject.inputs),
        "recomputed": lambda: recomputed_faults(model, subject.inputs),
    }
    for router in ["expert_choice"] + ["soft"] * isinstance(subject.inputs, Tensor):
        checks[router] = partial(_router_faults, subject, router)
    return _outcome(checks, note, len(list(moe_layers(model))))


def _moefied(subject: Subject, router: str) -> nn.Module:
    options: dict[str, Any] = {"example": subject.inputs, "renormalise": True}
    return moefy(subject.copy(), router, EXPERTS, "all", **options)


def _router_faults(subject: Subject, router: str) -> Iterator[str]:
    yield from loss_faults(_moefied(subject, router), subject.inputs)


def _rerouted(subject: Subject) -> Outcome:
    model, _ = reroute(subject.copy(), "own", example=subject.inputs)
    by_expert_choice = partial(_rerouted_by, subject, "expert_choice")
    checks: dict[str, Callable[[], Iterator[str]]] = {
        "own rule": lambda: _apart(answers_of(model, subject.inputs), subject.answers),
        "padding": lambda: padding_faults(subject, by_expert_choice, TOLERANCE),
    }
    for router in ("token_choice", "usmoe"):
        checks[router] = partial(_rerouted_faults, subject, router)
    return _outcome(checks, "", len(list(moe_layers(model))))


def _rerouted_by(subject: Subject, router: str) -> nn.Module:
    return reroute(subject.copy(), router, example=subject.inputs)[0]


def _rerouted_faults(subject: Subject, router: str) -> Iterator[str]:
    model = _rerouted_by(subject, router)
    yield from loss_faults(model, subject.inputs)
    yield from saving_faults(model, subject.inputs)


def _outcome(checks: Mapping[str, Callable[[], Iterator[str]]], note: str, layers: int) -> Outcome:
    """Run all checks and return what came of them."""
    wrong, crashes, notes = list[str](), list[str](), [note] if note else []
    for name, check in checks.items():
        try:
            wrong += [f"{name}: {fault}" for fault in check()]
        except RefusedAtOnce as error:
            notes.append(f"save_moe refuses it: {error}")
        except Exception as error:
            if _out_of_memory(error):
                raise
            crashes.append(f"{name}: {_place(error)}")
    if not wrong and not crashes:
        return Outcome(status="fine", detail="; ".join(notes), layers=layers)
    status: Status = "crash" if crashes else "wrong"
    return Outcome(status=status, detail=" | ".join([*crashes, *wrong]), layers=layers)


def _apart(ours: list[Tensor], theirs: list[Tensor]) -> Iterator[str]:
    if not (gap := differences(ours, theirs)) <= TOLERANCE:
        yield f"{gap:.1e} apart"


def saving_faults(model: nn.Module, inputs: Inputs) -> Iterator[str]:
    """Yield what is wrong with a model that was saved and loaded.

    Raises:
        RefusedAtOnce: if it cannot be saved.
    """
    before = answers_of(model, inputs)
    with tempfile.TemporaryDirectory() as folder:
        try:
            save_moe(model, Path(folder) / "model")
        except UserError as error:
            raise RefusedAtOnce(error) from error
        loaded = load_moe(Path(folder) / "model")
    yield from _apart(answers_of(loaded, inputs), before)
