"""Span corruption: replace spans of tokens by sentinels, and predict them after their sentinels.

Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer"
(2020), https://arxiv.org/abs/1910.10683, section 3.1.4: 15 % of the tokens, in spans of 3 on
average. For a sequence of fixed length, inputs and targets have fixed lengths too, so that nothing
is padded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """Corruption of sequences of `length` tokens.

    Args:
        length: tokens, >= 8.
        share: of the tokens to hide, in (0, 1).
        mean: tokens of a span on average, >= 1.
        vocabulary: V; V is the end of a sequence, V + 1 its start for the decoder, V + 2 the first
            sentinel.
    """

    length: int
    share: float
    mean: float
    vocabulary: int

    @property
    def hidden(self) -> int:
        """Number of hidden tokens: at least 1, at most all but 1."""
        return min(max(1, round(self.length * self.share)), self.length - 1)

    @property
    def spans(self) -> int:
        """Number of hidden spans; each has a token, and a visible one before it."""
        return min(max(1, round(self.hidden / self.mean)), self.hidden, self.length - self.hidden)

    @property
    def size(self) -> int:
        """Vocabulary with the end, the start and the sentinels."""
        return self.vocabulary + 2 + self.spans

    def corrupt(self, tokens: Tokens, seed: int) -> tuple[Tokens, Tokens]:
        """Return inputs [length - hidden + spans + 1] and targets [hidden + spans + 1].

        `seed` determines the spans.
        """
        rng = np.random.default_rng(seed)
        visible = _cut(self.length - self.hidden, self.spans, rng)
        hidden = _cut(self.hidden, self.spans, rng)
        ends = np.cumsum(np.stack([visible, hidden], axis=1).flatten())
        pieces = np.split(tokens[: self.length], ends[:-1])  # visible, hidden, visible, hidden, ...
        inputs: list[Tokens] = []
        targets: list[Tokens] = []
        for number in range(self.spans):
            sentinel = np.array([self.vocabulary + 2 + number])
            inputs += [pieces[2 * number], sentinel]
            targets += [sentinel, pieces[2 * number + 1]]
        end = [np.array([self.vocabulary])]
        return np.concatenate(inputs + end), np.concatenate(targets + end)

    def shifted(self, targets: Tokens) -> Tokens:
        """Return the inputs of the decoder: its start token, then all targets but the last."""
        start = np.full_like(targets[..., :1], self.vocabulary + 1)
        return np.concatenate([start, targets[..., :-1]], axis=-1)


def _cut(total: int, parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the lengths >= 1 of a random composition of `total` into `parts`, uniformly drawn."""
    ends = np.sort(rng.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], ends, [total]]))
