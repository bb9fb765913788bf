"""Repeatability in evaluation: later passes of the SAME router are compared with the first.

Rare randomness is detected by its source: no generator of torch, of numpy, or of the router itself
may advance in evaluation; Python's may, since type checkers such as beartype draw from it, as long
as no routing differs. Where a number changes that could be a counter, many more passes are
compared.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moesuite.certify.harness import Subject, seeded
from moesuite.records.certificate import Check
from moesuite.routing.forms import Routing
from moesuite.routing.router import Router

PASSES, MORE = 150, 350  # of one router
LENGTHS = {12: PASSES, 24: 10, 257: 12}  # tokens of a group: number of passes
TRAINING_PASSES = 10
GENERATOR = "generator "
TORCH, CUDA = GENERATOR + "torch", GENERATOR + "torch.cuda"
PYTHON, NUMPY = GENERATOR + "random (Python)", GENERATOR + "numpy.random"
SAID = {TORCH: "torch's", CUDA: "torch's CUDA", PYTHON: "Python's", NUMPY: "numpy's"}
PLAIN = (bool, int, float, str)
TORCHS = frozenset(vars(torch.nn.Module()))  # attributes that every module has


def deterministic(subject: Subject) -> Check:
    """Evaluations agree to the last bit and change no state; training repeats by seed."""
    fault, moving, changed = _later_passes(subject)
    reseeded = sets_seed(subject)
    if reseeded:
        fault = reseeded
    elif source := _drawn_from(subject, fault, moving):
        fault = f"draws at random in evaluation, from {source}"
    elif changed:
        fault = "; ".join(
            [f"evaluation changes its buffer {changed[0]}", *([fault] if fault else [])]
        )
    fault = fault or _in_training(subject)
    notes = [
        f"keeps {name} between evaluations, which changed no routing"
        for name in moving
        if name != PYTHON
    ]
    return Check(holds=not fault, claimed=True, detail=fault or next(iter(notes), ""))


def _drawn_from(subject: Subject, fault: str, moving: Sequence[str]) -> str:
    """Return the generator that a router draws from in evaluation, or an empty string.

    It is Python's if passes differ, and no longer do once that generator is reset before each.
    """
    for name in moving:
        if name.startswith(GENERATOR) and name != PYTHON:
            return name.removeprefix(GENERATOR)
    if fault and PYTHON in moving and not _later_passes(subject, set_back=True)[0]:
        return PYTHON.removeprefix(GENERATOR)
    return ""


@lru_cache(maxsize=8)
def is_random(subject: Subject) -> bool:
    """Return whether training is random: advances a generator, or differs between seeds."""
    router, x = subject.layer().train().router, subject.inputs()
    with torch.no_grad(), seeded(1, subject.device):
        before, first = states(router, subject.device), router(x)
        if any(
            name.startswith(GENERATOR) for name in moved(before, states(router, subject.device))
        ):
            return True
    with torch.no_grad(), seeded(2, subject.device):
        return not same(first, subject.layer().train().router(x))


@torch.no_grad()
def _later_passes(subject: Subject, set_back: bool = False) -> tuple[str, list[str], list[str]]:
    """Return how a later pass differs from the first (or ""), changed states, changed buffers."""
    moving, changed = list[str](), list[str]()
    for length, passes in LENGTHS.items():
        router = subject.layer(tokens=max(length, subject.tokens)).eval().router
        buffers = {name: tensor.clone() for name, tensor in router.named_buffers()}
        fault, more = _passes(router, subject, length, passes, set_back)
        moving += [name for name in more if name not in moving]
        changed += [
            name
            for name, tensor in router.named_buffers()
            if not torch.equal(tensor, buffers[name])
        ]
        if fault:
            return fault, moving, changed
    return "", moving, changed


def _passes(
    router: Router, subject: Subject, length: int, passes: int, set_back: bool
) -> tuple[str, list[str]]:
    """Return how a later pass differs (or "") and changed states, for groups of one length."""
    x, other = (
        subject.inputs(seed, length, kind)[:1] for seed, kind in ((1, "Gaussian"), (2, "alike"))
    )
    with seeded(1, subject.device):
        python = random.getstate()
        first = router(x.clone())
        router(other)
        before, number, checked = states(router, subject.device), 1, passes
        moving: list[str] = []
        while number < passes:
            number += 1
            if set_back:
                random.setstate(python)
            if not same(first, router(x.clone())):
                detail = f"pass {number} of the same layer in evaluation differs from the first"
                where = "" if length <= subject.tokens else f", in groups of {length}"
                return detail + where, moved(before, states(router, subject.device))
            if number in (2, checked):
                moving = moved(before, states(router, subject.device))
                passes = MORE if set(moving) - {PYTHON} else checked
    return "", moving


@torch.no_grad()
def sets_seed(subject: Subject) -> str:
    """Return a message about a generator of the process that the router seeds, or "".

    After a seeding router, passes of two seeds end in the same state.
    """
    for training in (False, True):
        for length in (subject.tokens, max(LENGTHS)):
            router = subject.layer(tokens=length).train(training).router
            x, ends = subject.inputs(tokens=length), []
            for seed in (1, 2):
                with seeded(seed, subject.device):
                    router(x.clone())
                    ends.append(process_generators(subject.device))
            for name, state in ends[0].items():
                if state == ends[1][name]:
                    mode = "training" if training else "evaluation"
                    return (
                        f"sets the seed of {SAID[name]} generator for everybody in {mode}, "
                        f"in groups of {length}"
                    )
    return ""


def _in_training(subject: Subject) -> str:
    x, first = subject.inputs(), None
    for _ in range(TRAINING_PASSES):
        with torch.no_grad(), seeded(1, subject.device):
            routing = subject.layer().train().router(x.clone())
        first = routing if first is None else first
        if not same(first, routing):
            return (
                "training with the same seed differs: it draws from what no seed reaches, "
                "or adds in no fixed order"
            )
    return ""


def same(ours: Routing, theirs: Routing) -> bool:
    """Return whether two routings agree to the last bit, losses included."""
    if type(ours) is not type(theirs):
        return False
    parts = [
        (getattr(ours, f.name), getattr(theirs, f.name)) for f in fields(ours) if f.name != "losses"
    ]
    parts += [(loss, theirs.losses.get(name)) for name, loss in ours.losses.items()]
    return all(_equal(a, b) for a, b in parts)


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return torch.equal(ours.nan_to_num(), theirs.nan_to_num())
    return ours is theirs or bool(ours == theirs)


def states(router: Router, device: str) -> dict[str, Any]:
    """Return states of reachable generators, and plain values kept by the router or its module."""
    snapshot = process_generators(device)
    for holder, values in _holders(router):
        for name, value in values.items():
            snapshot |= dict(_numbers(f"{holder}{name}", value, depth=2))
    return snapshot


def process_generators(device: str) -> dict[str, Any]:
    """Return the states of the generators shared by the whole process."""
    shared: dict[str, Any] = {
        TORCH: torch.get_rng_state().numpy().tobytes(),
        PYTHON: random.getstate(),
        NUMPY: _numpy_state(np.random.mtrand._rand),
    }
    if torch.device(device).type == "cuda":
        shared[CUDA] = torch.cuda.get_rng_state(device).numpy().tobytes()
    return shared


def _numpy_state(generator: np.random.RandomState) -> tuple[Any, ...]:
    state: Any = generator.get_state()
    return (state[1].tobytes(), *state[2:])


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of changed values, generators first."""
    names = [name for name in sorted(after) if before.get(name) != after[name]]
    return sorted(names, key=lambda name: not name.startswith(GENERATOR))


def _holders(router: Router) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the places where a router may keep state outside buffers: itself, classes, module."""
    for path, module in router.named_modules():
        yield f"{path}.".lstrip("."), {k: v for k, v in vars(module).items() if k not in TORCHS}
    for cls in type(router).__mro__:
        if cls is Router:
            break
        yield f"{cls.__name__}.", vars(cls)
        if (home := sys.modules.get(cls.__module__)) is not None:
            yield f"{cls.__module__}.", vars(home)


def _numbers(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield the plain values of an attribute and the states of generators, down to `depth`."""
    if isinstance(value, PLAIN):
        yield name, value
    elif isinstance(value, random.Random):
        yield f"generator {name}", value.getstate()
    elif isinstance(value, np.random.Generator):
        yield f"generator {name}", repr(value.bit_generator.state)
    elif isinstance(value, np.random.RandomState):
        yield f"generator {name}", _numpy_state(value)
    elif isinstance(value, torch.Generator):
        yield f"generator {name}", value.get_state().numpy().tobytes()
    elif isinstance(value, list | tuple | set | dict | deque):
        yield f"len({name})", len(value)
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in list(items)[:8] if depth and len(value) <= 8 else ():
            yield from _numbers(f"{name}[{key}]", item, depth - 1)
    elif type(value).__module__ == "itertools":
        yield name, repr(value)
