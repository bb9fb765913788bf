"""Experts of backgammon: who knows the rules and judges moves. Any class with these methods is one."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from moesuite.task import UserError, own_class, own_file, unknown
from moesuite.tasks.preferences.backgammon.positions import Boards

Dice = tuple[int, int]
Scores = Float32[np.ndarray, " N"]  # equity of the player who moves, in points: -3 to 3
Chooser = Callable[
    [Sequence[np.ndarray]], Sequence[int]
]  # boards to choose from, of many games -> the chosen ones
PASS: tuple[Boards, Scores] = np.zeros((0, 2, 25), dtype=np.int8), np.zeros(0, dtype=np.float32)
EXPERTS = ("gnubg-nn", "gnubg")
EXAMPLE = "my_file:MyExpert"


@runtime_checkable
class Expert(Protocol):
    """Who knows the rules and judges moves. Boards are the mover's (row 1), before and after the move."""

    name: str  # with whatever labels depend on

    def moves(self, board: np.ndarray, dice: Dice) -> Boards:
        """Return the boards that the player of row 1 can move to; none: the player passes."""

    def judged(self, board: np.ndarray, dice: Dice) -> tuple[Boards, Scores]:
        """Return the same boards, in any order, with their scores."""


@cache
def expert_of(name: str, plies: int) -> Expert:
    """Return an expert, one of each kind for this process.

    Args:
        name: gnubg-nn (the package), gnubg (the program), or `module.path:Class` or
            `path/to/file.py:Class` for one of your own, whose class takes the plies.
        plies: rolls that it looks ahead, 0 or more.

    Raises:
        UserError: for an unknown name, an expert that is not installed, or a class that is none.
    """
    if name == "gnubg-nn":
        from moesuite.tasks.preferences.backgammon.gnubg_package import Package

        return Package(plies)
    if name == "gnubg":
        from moesuite.tasks.preferences.backgammon.gnubg_program import Program

        return Program(plies)
    if ":" not in name:
        raise unknown("expert in task.expert", name, EXPERTS, f"task.expert={EXAMPLE} for your own")
    cls = own_class("task.expert", name, EXAMPLE)
    try:
        inspect.signature(cls).bind(plies)
    except TypeError as error:
        raise UserError(
            f"task.expert={name}: made with the plies: {error}; allowed: __init__(self, plies)"
        ) from None
    found = cls(plies)
    if not isinstance(found, Expert):
        raise UserError(
            f"task.expert={name} is no expert; allowed: a class with name, moves and judged"
        )
    return found


def file_of(name: str) -> dict[str, Path]:
    """Return the file of an expert of your own, by the option that names it; nothing for the package's.

    Raises:
        UserError: for a name that leads to no file.
    """
    return {"task.expert": own_file("task.expert", name, EXAMPLE)[0]} if ":" in name else {}


def version_of(name: str) -> str:
    """Return what tells an expert of your own from what it was before it was edited; of the others their name does.

    Raises:
        UserError: for a name that leads to no file.
    """
    return "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in file_of(name).values())


def deepened(shallow: Sequence[float], deep: Sequence[float | None]) -> Scores:
    """Return scores where a filter let only some moves be looked at deeply.

    Args:
        shallow: scores of all moves at 0 plies.
        deep: of those that were looked at; None: of the others, which keep what they score at 0
            plies, but never more than the worst of those that were looked at.
    """
    worst = min((score for score in deep if score is not None), default=np.inf)
    pairs = zip(shallow, deep, strict=True)
    return np.array(
        [min(own, worst) if other is None else other for own, other in pairs], dtype=np.float32
    )
