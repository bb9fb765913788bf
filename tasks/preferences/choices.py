"""Choices among alternatives: the part of them that a network sees, and the loss of its answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from moesuite.task import Key, UserError

Head = Literal["comparison", "relative_score", "comparison_free"]
Loss = Literal["pairs", "chosen", "listwise"]


@dataclass(frozen=True)
class Comparison:
    """What is learned of a choice.

    Attributes:
        head: comparison: σ(s(a) - s(b)); relative_score: s(a) is the expert's score;
            comparison_free: a network of both inputs.
        loss: pairs of comparisons to train on: pairs (all), chosen (the expert's choice against
            each other), or listwise, a softmax over all alternatives.
        alternatives: alternatives of a choice in training, >= 2: the expert's choice and others at
            random.
    """

    head: Head = "comparison"
    loss: Loss = "pairs"
    alternatives: Annotated[int, Ge(2)] = 8

    def check(self) -> None:
        """Raise `UserError` for a loss that the head does not have."""
        losses = {
            "comparison": ("pairs", "chosen", "listwise"),
            "comparison_free": ("pairs", "chosen"),
            "relative_score": ("pairs",),
        }
        if self.loss not in losses[self.head]:
            raise UserError(
                f"task.loss={self.loss} with task.head={self.head}; expected pairs; "
                "type task.head=comparison"
            )


@dataclass(frozen=True)
class Choice:
    """Alternatives with the expert's scores.

    Attributes:
        rows: tokens of each alternative, [T] each.
        scores: of each, [n]; higher is better.
        pairs: pairs (a, b) of alternatives that a network of two inputs sees, in this order;
            else empty.
        number: row of the choice in its split.
    """

    rows: Sequence[Any] | np.ndarray
    scores: Float[np.ndarray, " n"]
    pairs: Sequence[tuple[int, int]] = ()
    number: int = 0


class Choices(Dataset[Choice]):
    """Choices; in training a sample of the alternatives, drawn by the key's seed.

    The expert's choice is always in the sample.

    Args:
        choices: tokens and scores of each.
        most: alternatives of a choice in training, >= 2; None: all, as in evaluation.
        pairs: pairs that a network of two inputs sees: all of them both ways, one way of "pairs"
            or "chosen"; empty for networks of one input.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        most: int | None,
        pairs: Literal["", "all", "pairs", "chosen"],
    ) -> None:
        self.choices = choices
        self.most = most
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.choices)

    def __getitem__(self, key: Key) -> Choice:
        index, seed = key if isinstance(key, tuple) else (key, 0)
        choice = self.choices[index]
        if self.most is None:
            pairs = list(self._pairs(choice.scores, None))
            return Choice(choice.rows, choice.scores, pairs, index)
        random = np.random.default_rng(seed)
        best, count = int(choice.scores.argmax()), len(choice.scores)
        others = np.delete(np.arange(count), best)
        sampled = random.choice(others, min(self.most, count) - 1, replace=False)
        sample = np.sort([best, *sampled])
        scores = choice.scores[sample]
        rows = [choice.rows[row] for row in sample]
        return Choice(rows, scores, list(self._pairs(scores, random)), index)

    def _pairs(
        self, scores: np.ndarray, random: np.random.Generator | None
    ) -> Iterator[tuple[int, int]]:
        count, best = range(len(scores)), int(scores.argmax())
        if not self.pairs:
            return
        if self.pairs == "all":
            yield from itertools.permutations(count, 2)
            return
        for pair in itertools.combinations(count, 2):
            if scores[pair[0]] != scores[pair[1]] and (self.pairs == "pairs" or best in pair):
                # in random order, so that the place does not tell the answer
                swap = random is not None and random.random() < 0.5
                yield pair[::-1] if swap else pair


def training_loss(
    head: Head,
    loss: Loss,
    output: Float[Tensor, " R"],
    scores: Float[Tensor, " N"],
    sizes: list[int],
    pairs: Int[Tensor, "P 2"],
) -> Tensor:
    """Return the loss of a batch of choices.

    Args:
        head: comparison and relative_score: a score for each alternative; comparison_free: an
            answer to each pair.
        loss: of comparisons: all pairs, the expert's choice against each other one, or softmax over
            the list.
        output: scores s of all alternatives, R = N; or logits of "the first is better", R = P.
        scores: the expert's.
        sizes: alternatives of each choice.
        pairs: pairs of alternatives, numbered through the batch; empty but for comparison_free.
    """
    if head == "relative_score":
        return F.mse_loss(output, scores)
    if head == "comparison_free":
        is_first = (scores[pairs[:, 0]] > scores[pairs[:, 1]]).to(output.dtype)
        loss_sum = F.binary_cross_entropy_with_logits(output, is_first, reduction="sum")
        return loss_sum / max(1, len(pairs))
    ours = pad_sequence(list(output.split(sizes)), True, -torch.inf)
    theirs = pad_sequence(list(scores.split(sizes)), True, -torch.inf)
    best = theirs.argmax(dim=1)
    if loss == "listwise":
        return F.cross_entropy(ours, best)
    better = theirs[:, :, None] > theirs[:, None, :]  # [B, n, n]
    better &= theirs[:, None, :].isfinite()
    if loss == "chosen":
        better &= F.one_hot(best, theirs.shape[1]).bool()[:, :, None]
    first = ours[:, :, None].expand_as(better)[better]
    second = ours[:, None, :].expand_as(better)[better]
    # -log σ(s(a) - s(b)); 0 where the expert finds all alternatives of a batch equally good
    return F.softplus(second - first).sum() / max(1, len(first))
