"""Answers of a network to choices, and their agreement with the expert's scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torchmetrics
from jaxtyping import Float, Int
from torch import Tensor

from moesuite.task import Batch, Columns
from moesuite.tasks.preferences.choices import Head


@dataclass(frozen=True)
class Answers:
    """The answers of a network to one choice.

    Attributes:
        utility: of each alternative; the network chooses the first of the largest.
        logits: of "a is better than b", by the order in which the network sees the two.
    """

    utility: Float[Tensor, " n"]
    logits: Float[Tensor, "n n"]


def answers(head: Head, output: Float[Tensor, " R"], sizes: list[int]) -> Iterator[Answers]:
    """Yield the answers to each choice of a batch.

    In evaluation a network of two inputs sees every pair in both orders.
    """
    if head != "comparison_free":
        for scores in output.split(sizes):
            yield Answers(scores, scores[:, None] - scores[None, :])
        return
    counts = [size * (size - 1) for size in sizes]
    for size, pair_logits in zip(sizes, output.split(counts), strict=True):
        logits = output.new_zeros(size, size)
        off_diagonal = ~torch.eye(size, dtype=torch.bool, device=output.device)
        logits[off_diagonal] = pair_logits  # in the order of itertools.permutations
        yield Answers((logits.sigmoid() + 1 - logits.T.sigmoid()).sum(dim=1), logits)


def chosen(head: Head, output: Float[Tensor, " R"], batch: Batch) -> Columns:
    """Return the columns of a batch of choices: the expert's, the network's, and all scores."""
    predictions = list(answers(head, output.cpu(), batch["sizes"]))
    experts = batch["scores"].cpu().split(batch["sizes"])
    picks = [int(prediction.utility.argmax()) for prediction in predictions]
    return {
        "id": [str(number) for number in batch["index"].tolist()],
        "target": [int(scores.argmax()) for scores in experts],
        "prediction": picks,
        "right": [
            bool(scores[pick] == scores.max()) for scores, pick in zip(experts, picks, strict=True)
        ],
        "scores": [prediction.utility.tolist() for prediction in predictions],
        "expert": [scores.tolist() for scores in experts],
    }


def cycles(beats: Int[Tensor, "n n"]) -> tuple[int, int]:
    """Return the number of intransitive triples, and of all triples.

    Args:
        beats: 1 where a is preferred to b, in one of the two orders of each pair.
    """
    n, wins = len(beats), beats.sum(dim=1)
    triples = n * (n - 1) * (n - 2) // 6
    transitive = int((wins * (wins - 1) // 2).sum())  # one of its three beats both others
    return triples - transitive, triples


class Agreement(torchmetrics.Metric):
    """Agreement with the expert, and consistency, over choices.

    top1: share of choices where network and expert agree. pairs: share of pairs that it orders like
    the expert. score_loss: mean of the expert's score of its own choice, minus that of the
    network's. intransitive: share of triples a > b > c > a. order_dependent: share of pairs whose
    answer changes with the order in which the network sees them.
    """

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(len(SUMS), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[Answers], scores: Sequence[Tensor]) -> None:
        """Add choices: the network's answers, and the expert's scores of the alternatives."""
        for prediction, expert in zip(predictions, scores, strict=True):
            sums = torch.tensor(_sums(prediction, expert), dtype=torch.float64)
            self.total += sums.to(self.total.device)

    def compute(self) -> dict[str, Tensor]:
        """Return all figures by name."""
        choices, right, ordered, orders, loss, cyclic, triples, turned, pairs = self.total
        return {
            "top1": right / choices,
            "pairs": ordered / orders.clamp(min=1),
            "score_loss": loss / choices,
            "intransitive": cyclic / triples.clamp(min=1),
            "order_dependent": turned / pairs.clamp(min=1),
        }


SUMS = ("choices", "right", "ordered", "orders", "loss", "cyclic", "triples", "turned", "pairs")


def _sums(prediction: Answers, scores: Float[Tensor, " n"]) -> list[float]:
    """Return the terms of `SUMS` for one choice."""
    chosen = scores[prediction.utility.argmax()]
    first, second = torch.triu_indices(len(scores), len(scores), 1, device=scores.device)
    forward, backward = prediction.logits[first, second], prediction.logits[second, first]
    differs = scores[first] != scores[second]
    prefers_first = (forward - backward) > 0
    correct = (prefers_first == (scores[first] > scores[second])) & differs & (forward != backward)
    ties = (forward == 0) & (backward == 0)
    turned = ((forward > 0) == (backward > 0)) & ~ties
    beats = torch.zeros_like(prediction.logits, dtype=torch.long)
    beats[first, second] = (forward >= 0).long()
    beats[second, first] = (forward < 0).long()
    return [
        1.0,
        float(chosen == scores.max()),
        float(correct.sum()),
        float(differs.sum()),
        float(scores.max() - chosen),
        *map(float, cycles(beats)),
        float(turned.sum()),
        float(len(first)),
    ]
