"""Sets of alternatives: what of them is shown to a network, how its answers are trained, and how they are scored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torchmetrics
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from moesuite.task import Key

Head = Literal["comparison", "relative_score", "comparison_free"]
Loss = Literal["pairs", "chosen", "listwise"]


@dataclass(frozen=True)
class Choice:
    """Alternatives with the expert's scores.

    Attributes:
        rows: tokens of each alternative, [T] each.
        scores: of each, [n]; higher is better.
        asked: pairs (a, b) of alternatives that a network of two inputs is shown, in this order;
            else empty.
    """

    rows: Sequence[Any] | np.ndarray
    scores: Float[np.ndarray, " n"]
    asked: Sequence[tuple[int, int]] = ()


class Choices(Dataset[Choice]):
    """Choices; in training some of the alternatives, the expert's own choice among them, by the key's seed.

    Args:
        choices: tokens and scores of each.
        most: alternatives of a choice in training, >= 2; None: all, as in evaluation.
        pairs: pairs that a network of two inputs is shown: all of them both ways, one way of
            "pairs" or "chosen".
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        most: int | None,
        pairs: Literal["", "all", "pairs", "chosen"],
    ) -> None:
        self.choices, self.most, self.pairs = choices, most, pairs

    def __len__(self) -> int:
        return len(self.choices)

    def __getitem__(self, key: Key) -> Choice:
        index, seed = key if isinstance(key, tuple) else (key, 0)
        choice = self.choices[index]
        if self.most is None:
            return Choice(choice.rows, choice.scores, list(self._asked(choice.scores, None)))
        random = np.random.default_rng(seed)
        best, count = int(choice.scores.argmax()), len(choice.scores)
        others = np.delete(np.arange(count), best)
        kept = np.sort([best, *random.choice(others, min(self.most, count) - 1, replace=False)])
        scores = choice.scores[kept]
        return Choice([choice.rows[row] for row in kept], scores, list(self._asked(scores, random)))

    def _asked(
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
                turned = (
                    random is not None and random.random() < 0.5
                )  # lest the place tells the answer
                yield pair[::-1] if turned else pair


def training_loss(
    head: Head,
    loss: Loss,
    output: Float[Tensor, " R"],
    scores: Float[Tensor, " N"],
    sizes: list[int],
    asked: Int[Tensor, "P 2"],
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
        asked: pairs of alternatives, numbered through the batch; empty but for comparison_free.
    """
    if head == "relative_score":
        return F.mse_loss(output, scores)
    if head == "comparison_free":
        is_first = (scores[asked[:, 0]] > scores[asked[:, 1]]).to(output.dtype)
        return F.binary_cross_entropy_with_logits(output, is_first, reduction="sum") / max(
            1, len(asked)
        )
    ours, theirs = (
        pad_sequence(list(one.split(sizes)), True, -torch.inf) for one in (output, scores)
    )
    best = theirs.argmax(dim=1)
    if loss == "listwise":
        return F.cross_entropy(ours, best)
    better = theirs[:, :, None] > theirs[:, None, :]  # [B, n, n]
    better &= theirs[:, None, :].isfinite()
    if loss == "chosen":
        better &= F.one_hot(best, theirs.shape[1]).bool()[:, :, None]
    first, second = (
        ours[:, :, None].expand_as(better)[better],
        ours[:, None, :].expand_as(better)[better],
    )
    # -log σ(s(a) - s(b)); 0 where the expert finds all alternatives of a batch equally good
    return F.softplus(second - first).sum() / max(1, len(first))


@dataclass(frozen=True)
class Answers:
    """What a network says of one choice.

    Attributes:
        utility: of each alternative; the largest is chosen, the first of equals.
        logits: of "a is better than b", by the order in which the two are shown.
    """

    utility: Float[Tensor, " n"]
    logits: Float[Tensor, "n n"]


def answers(head: Head, output: Float[Tensor, " R"], sizes: list[int]) -> Iterator[Answers]:
    """Yield the answers to each choice of a batch in evaluation, where a network of two inputs saw every pair."""
    if head != "comparison_free":
        for scores in output.split(sizes):
            yield Answers(scores, scores[:, None] - scores[None, :])
        return
    for size, own in zip(sizes, output.split([size * (size - 1) for size in sizes]), strict=True):
        logits = output.new_zeros(size, size)
        logits[~torch.eye(size, dtype=torch.bool, device=output.device)] = (
            own  # permutations are in this order
        )
        yield Answers((logits.sigmoid() + 1 - logits.T.sigmoid()).sum(dim=1), logits)


def cycles(beats: Int[Tensor, "n n"]) -> tuple[int, int]:
    """Return how many triples are intransitive, of how many.

    Args:
        beats: 1 where a is preferred to b, in one of the two orders of each pair.
    """
    n, wins = len(beats), beats.sum(dim=1)
    triples = n * (n - 1) * (n - 2) // 6
    return triples - int(
        (wins * (wins - 1) // 2).sum()
    ), triples  # each transitive triple has one that wins both


class Agreement(torchmetrics.Metric):
    """Agreement with the expert, and consistency, over choices.

    top1: share of choices where the network's is the expert's. pairs: share of pairs that it orders
    like the expert. score_loss: mean of the expert's score of its own choice, minus of the
    network's. intransitive: share of triples a > b > c > a. order_dependent: share of pairs whose
    answer changes with the order in which they are shown.
    """

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(len(SUMS), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, found: Sequence[Answers], scores: Sequence[Tensor]) -> None:
        """Add choices."""
        for one, own in zip(found, scores, strict=True):
            self.total += torch.tensor(
                _sums(one, own), dtype=torch.float64, device=self.total.device
            )

    def compute(self) -> dict[str, Tensor]:
        """Return all shares."""
        choices, right, ordered, orders, loss, cyclic, triples, turned, pairs = self.total
        return {
            "top1": right / choices,
            "pairs": ordered / orders.clamp(min=1),
            "score_loss": loss / choices,
            "intransitive": cyclic / triples.clamp(min=1),
            "order_dependent": turned / pairs.clamp(min=1),
        }


SUMS = ("choices", "right", "ordered", "orders", "loss", "cyclic", "triples", "turned", "pairs")


def _sums(one: Answers, scores: Float[Tensor, " n"]) -> list[float]:
    chosen = scores[one.utility.argmax()]
    first, second = torch.triu_indices(len(scores), len(scores), 1, device=scores.device)
    ahead, apart = one.logits[first, second], scores[first] != scores[second]
    behind = one.logits[second, first]
    ours = (ahead - behind) > 0
    beats = torch.zeros_like(one.logits, dtype=torch.long)
    beats[first, second], beats[second, first] = (ahead >= 0).long(), (ahead < 0).long()
    turned = ((ahead > 0) == (behind > 0)) & ~((ahead == 0) & (behind == 0))
    right = (ours == (scores[first] > scores[second])) & apart & (ahead != behind)
    return [
        1.0,
        float(chosen == scores.max()),
        float(right.sum()),
        float(apart.sum()),
        float(scores.max() - chosen),
        *map(float, cycles(beats)),
        float(turned.sum()),
        float(len(first)),
    ]
