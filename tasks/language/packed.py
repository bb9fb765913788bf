"""Sequences of packed tokens: side by side for training, a sliding window for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from moesuite.task import Key, UserError

IGNORED = -100  # a target that is not scored
SHORTEST = 8  # tokens of a sequence, as in `moesuite.tasks.options.Tokens`


class Sample(NamedTuple):
    """A sequence.

    Attributes:
        tokens: [length + 1].
        scored: number of targets to score, the last ones.
        seed: of what is hidden; of a window its index.
        domain: number of its domain.
    """

    tokens: NDArray[np.int64]
    scored: int
    seed: int
    domain: int = 0


def check_length(tokens: NDArray[Any], length: int, where: str) -> None:
    """Raise `UserError` for tokens that do not fill one sequence."""
    if len(tokens) <= length:
        most = max(SHORTEST, len(tokens) // 2)
        hint = f"type for example task.length={most}" if len(tokens) > most else "use a longer text"
        raise UserError(
            f"{where} has {len(tokens)} tokens, too few for one sequence of task.length={length}; "
            f"{hint}"
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
        tokens = self.tokens[begin : begin + self.length + 1].astype(np.int64)
        return Sample(tokens, self.length, seed)


class Sliding(Dataset[Sample]):
    """Windows of a split for evaluation; none goes across domains.

    Args:
        parts: tokens of each domain by its number.
        length: tokens of a window.
        stride: tokens between windows.
    """

    def __init__(self, parts: Mapping[int, NDArray[Any]], length: int, stride: int) -> None:
        self.parts = parts
        self.length = length
        self.windows = [
            (domain, begin, scored)
            for domain, tokens in parts.items()
            for begin, scored in windows(length, stride, len(tokens) - 1)
        ]
        domains = [domain for domain, _, _ in self.windows]
        self.first = {domain: domains.index(domain) for domain in parts}

    @property
    def tokens(self) -> NDArray[Any]:
        """The tokens of all domains."""
        parts = list(self.parts.values())
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def count(self, domain: int) -> int:
        """Return the number of windows of a domain."""
        return sum(number == domain for number, _, _ in self.windows)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, key: Key) -> Sample:
        index = key[0] if isinstance(key, tuple) else key
        domain, begin, scored = self.windows[index]
        tokens = self.parts[domain][begin : begin + self.length + 1].astype(np.int64)
        return Sample(tokens, scored, index, domain)

    def position(self, index: int) -> int:
        """Return the place in its domain of the first token that a window scores."""
        _, begin, scored = self.windows[index]
        return begin + 1 + self.length - scored

    def row(self, index: int) -> int:
        """Return the number of a window within its domain."""
        return index - self.first[self.windows[index][0]]


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
