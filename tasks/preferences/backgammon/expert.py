"""Backgammon experts: generate and score legal moves. Any class with these methods qualifies.

The package's own are the files of `experts/`, one each; there is no list to edit.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from moesuite.task import UserError, own_class, own_file, unknown
from moesuite.tasks.preferences.backgammon import experts
from moesuite.tasks.preferences.backgammon.positions import Boards

Dice = tuple[int, int]
Scores = Float32[np.ndarray, " N"]  # equity of the player who moves, in points: -3 to 3
# boards to choose from, of many games -> index of the chosen one of each
Chooser = Callable[[Sequence[np.ndarray]], Sequence[int]]
PASS: tuple[Boards, Scores] = np.zeros((0, 2, 25), dtype=np.int8), np.zeros(0, dtype=np.float32)
EXAMPLE = "my_file:MyExpert"


@runtime_checkable
class Expert(Protocol):
    """Generates and scores legal moves. Row 1 of a board is the mover's, before and after the move.

    Attributes:
        name: with everything that labels depend on, such as version and plies.
    """

    name: str

    def moves(self, board: np.ndarray, dice: Dice) -> Boards:
        """Return the boards that the player of row 1 can move to; empty if the player passes."""

    def judged(self, board: np.ndarray, dice: Dice) -> tuple[Boards, Scores]:
        """Return the same boards, in any order, with their scores."""


def expert_names() -> list[str]:
    """Return the names of the experts of the package: their files in `experts/`, with hyphens."""
    names = [module.name for module in pkgutil.iter_modules(experts.__path__)]
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


@cache
def expert_of(name: str, plies: int) -> Expert:
    """Return an expert, one instance of each in a process.

    Args:
        name: gnubg-nn (the package), gnubg (the program), or `module.path:Class` or
            `path/to/file.py:Class` for one of your own, whose class takes the plies.
        plies: rolls to look ahead, >= 0.

    Raises:
        UserError: for an unknown name, an expert that is not installed, or a class that is not an
            expert.
    """
    if ":" not in name:
        return _packaged(name)(plies)
    cls = own_class("task.expert", name, EXAMPLE)
    try:
        inspect.signature(cls).bind(plies)
    except TypeError as error:
        raise UserError(
            f"task.expert={name}: made with the plies: {error}; expected __init__(self, plies)"
        ) from None
    expert = cls(plies)
    if not isinstance(expert, Expert):
        raise UserError(
            f"task.expert={name} is no expert; expected a class with name, moves and judged"
        )
    return expert


def _packaged(name: str) -> Callable[[int], Expert]:
    """Return the class of an expert of the package: the one class with `moves` and `judged`."""
    if name not in expert_names():
        example = f"task.expert={EXAMPLE} for your own"
        raise unknown("expert in task.expert", name, expert_names(), example)
    module = importlib.import_module(f"{experts.__name__}.{name.replace('-', '_')}")
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    defined = [cls for cls in classes if cls.__module__ == module.__name__]
    (expert,) = (cls for cls in defined if hasattr(cls, "moves") and hasattr(cls, "judged"))
    return expert


def file_of(name: str) -> dict[str, Path]:
    """Return the file of an expert of your own by its option; empty for the package's.

    Raises:
        UserError: for a name that leads to no file.
    """
    return {"task.expert": own_file("task.expert", name, EXAMPLE)[0]} if ":" in name else {}


def version_of(name: str) -> str:
    """Return the hash of the file of an expert of your own; empty for the package's.

    Labels of an expert are made again when its file changes.

    Raises:
        UserError: for a name that leads to no file.
    """
    return "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in file_of(name).values())


def deepened(shallow: Sequence[float], deep: Sequence[float | None]) -> Scores:
    """Return scores where a filter let only some moves be searched deeply.

    Args:
        shallow: scores of all moves at 0 plies.
        deep: scores of the moves that were searched deeply; None for the others, which keep their
            score at 0 plies, but never more than the worst of those searched deeply.
    """
    worst = min((score for score in deep if score is not None), default=np.inf)
    scores = [
        min(at_zero, worst) if searched is None else searched
        for at_zero, searched in zip(shallow, deep, strict=True)
    ]
    return np.array(scores, dtype=np.float32)
