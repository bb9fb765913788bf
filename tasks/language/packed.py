"""Sequences of packed tokens: side by side for training, a sliding window for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from moesuite.task import Key, UserError

IGNORED = -100  # a target that is not scored
# tokens [length + 1], number of targets to score at the end, seed: of a window its index
Sample = tuple[NDArray[np.int64], int, int]


def check_length(tokens: NDArray[Any], length: int, where: str) -> None:
    """Raise `UserError` for tokens that do not fill one sequence."""
    if len(tokens) <= length:
        raise UserError(
            f"{where} has {len(tokens)} tokens, too few for one sequence of task.length={length}; "
            f"type for example task.length={max(8, len(tokens) // 2)}"
        )


class Packed(Dataset[Sample]):
    """Training sequences side by side, each shifted by the seed of its key."""

    def __init__(self, tokens: NDArray[Any], length: int) -> None:
        self.tokens = tokens
        self.length = length

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def __getitem__(self, key: Key) -> Sample:
        index, seed = key if isinstance(key, tuple) else (key, 0)
        begin = min(index * self.length + seed % self.length, len(self.tokens) - self.length - 1)
        return self.tokens[begin : begin + self.length + 1].astype(np.int64), self.length, seed


class Sliding(Dataset[Sample]):
    """Windows of a split for evaluation."""

    def __init__(self, tokens: NDArray[Any], length: int, stride: int) -> None:
        self.tokens = tokens
        self.length = length
        self.windows = list(windows(length, stride, len(tokens) - 1))

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, key: Key) -> Sample:
        index = key[0] if isinstance(key, tuple) else key
        begin, scored = self.windows[index]
        return self.tokens[begin : begin + self.length + 1].astype(np.int64), scored, index

    def position(self, index: int) -> int:
        """Return the place in the split of the first token that a window scores."""
        begin, scored = self.windows[index]
        return begin + 1 + self.length - scored


def windows(length: int, stride: int, total: int) -> Iterator[tuple[int, int]]:
    """Yield the windows of a sliding evaluation, which scores each target once.

    Args:
        length: targets of a window.
        stride: between windows; all but the first window score this many targets, with the rest as
            context.
        total: targets, >= length.

    Yields:
        The first token of a window, and how many of its last targets to score.
    """
    yield 0, length
    done = length
    while done < total:
        fresh = min(stride, total - done)
        done += fresh
        yield done - length, fresh
