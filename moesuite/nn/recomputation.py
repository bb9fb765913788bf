"""Forwards that backward repeats, under activation checkpointing: what they were told before."""

from __future__ import annotations

import inspect
import sys
import weakref
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.checkpoint import CheckpointFunction

REMEMBERED = "moesuite"  # key in the metadata of an autograd node


@dataclass(frozen=True)
class Side:
    """Padding mask and ids of the tokens of one forward of a layer.

    Attributes:
        shape: (G, T).
        mask: [G, T], True for real tokens; None if all are.
        ids: [G, T], token ids if the model is called with them, else None.
    """

    shape: tuple[int, int]
    mask: Bool[Tensor, "G T"] | None = None
    ids: Int[Tensor, "G T"] | None = None


def in_backward() -> bool:
    """Return whether this thread runs a backward pass, as autograd and FSDP ask it."""
    return torch._C._current_graph_task_id() != -1


def in_reentrant_backward() -> bool:
    """Return whether a re-entrant checkpoint runs its forward in backward."""
    node = torch._C._current_autograd_node()
    return node is not None and node.name() == "CheckpointFunctionBackward"


def in_reentrant_forward() -> bool:
    """Return whether a re-entrant checkpoint runs its first forward, without gradients."""
    code, frame = CheckpointFunction.forward.__code__, inspect.currentframe()
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def call_of_module() -> FrameType | None:
    """Return the frame of the innermost call of a module, which runs its hooks and its forward."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals is not vars(torch.nn.modules.module):
        frame = frame.f_back
    return frame


def is_running(frame: FrameType | None) -> bool:
    """Return whether a call is under way in this thread."""
    here: FrameType | None = sys._getframe()
    while here is not None and here is not frame:
        here = here.f_back
    return here is not None


@dataclass(frozen=True)
class _Past:
    """One forward of a layer: the number of the autograd node that came next, and its tokens."""

    start: int
    side: Side


class History:
    """The forwards of a layer whose graphs are alive, by which backward finds the one it repeats.

    Nodes of autograd are numbered as they are created: one that backward runs belongs to the last
    forward that started before it. The graph keeps what is remembered of a forward, no longer.
    """

    def __init__(self) -> None:
        self._past: list[weakref.ref[_Past]] = []

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no past."""
        return {"_past": []}

    def start(self) -> int:
        """Return the number of the next node."""
        return torch.autograd._get_sequence_nr()

    def remember(self, start: int, side: Side, output: Tensor) -> None:
        """Remember a forward that started with node `start`, if it has a graph."""
        if output.grad_fn is not None:
            past = _Past(start, side)
            node: Any = output.grad_fn
            node.metadata[REMEMBERED] = past
            alive = [ref for ref in self._past if ref() is not None]
            self._past = [*alive, weakref.ref(past)]

    def recall(self) -> Side | None:
        """Return the tokens of the forward that backward is repeating, or None if none is known."""
        node = torch._C._current_autograd_node()
        for ref in reversed(self._past):
            past = ref()
            if past is not None and (node is None or past.start <= node._sequence_nr()):
                return past.side
        return None
