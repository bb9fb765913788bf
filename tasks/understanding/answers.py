"""The official metrics of GLUE (https://arxiv.org/abs/1804.07461) and SuperGLUE (https://arxiv.org/abs/1905.00537)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
import torchmetrics
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

Metric = Literal[
    "accuracy", "accuracy_mismatched", "f1", "f1_macro", "matthews", "pearson", "spearman",
    "exact_match", "token_f1", "token_exact_match",
]  # fmt: skip


Texts = tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """One example.

    Attributes:
        prompt: the example as one text, for models that answer in words.
        pairs: one or two texts for a head, in one pair; of a choice, a pair for each alternative.
        alternatives: what may be answered, in words.
        answer: number of the right class or alternative, or a score.
        words: the right answer in words.
        group: of the examples that one answer consists of (MultiRC).
        part: number of the test split that it is from.
        credits: (F1, exact match) of each alternative against the texts that are accepted (ReCoRD).
    """

    prompt: str
    pairs: tuple[Texts, ...]
    alternatives: Texts
    answer: float
    words: str
    group: str = ""
    part: int = 0
    credits: tuple[tuple[float, float], ...] = ()

    @property
    def wrong(self) -> list[int]:
        """Return the alternatives that are not accepted."""
        exact = {number for number, (_, exact) in enumerate(self.credits) if exact} | {
            int(self.answer)
        }
        return [number for number in range(len(self.alternatives)) if number not in exact]


def credit(given: str, accepted: Sequence[str]) -> tuple[float, float]:
    """Return F1 of words and exact match against the best of the accepted texts, as SQuAD has them.

    Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, section 6.1: without case, punctuation
    and articles.
    """
    words, scores = _words(given), [0.0]
    for text in accepted:
        common = sum((Counter(words) & Counter(_words(text))).values())
        scores.append(2 * common / max(1, len(words) + len(_words(text))))
    return max(scores), float(any(words == _words(text) for text in accepted))


def _words(text: str) -> list[str]:
    plain = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


Given = NDArray[np.float64]  # [N]: number of a class or alternative, or a score
Asked = Sequence[Question]  # the N questions


def _right(asked: Asked) -> NDArray[np.float64]:
    return np.array([question.answer for question in asked])


def _accuracy(given: Given, asked: Asked, part: int = 0) -> float:
    own = np.array([question.part == part for question in asked])
    return float((given == _right(asked))[own].mean())


def _f1(given: Given, asked: Asked, average: str = "binary") -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(_right(asked), given, average=average, zero_division=0))


def _matthews(given: Given, asked: Asked) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(_right(asked), given))


def _correlation(given: Given, asked: Asked, ranks: bool) -> float:
    from scipy.stats import pearsonr, spearmanr

    if np.ptp(given) == 0:  # a constant answer follows nothing
        return 0.0
    return float((spearmanr if ranks else pearsonr)(given, _right(asked)).statistic)


def _exact_match(given: Given, asked: Asked) -> float:
    """Return the share of groups in which every answer was judged rightly."""
    wrong = {
        question.group for question, own in zip(asked, given, strict=True) if own != question.answer
    }
    return 1 - len(wrong) / len({question.group for question in asked})


def _credit(given: Given, asked: Asked, which: int) -> float:
    return float(
        np.mean(
            [question.credits[int(own)][which] for question, own in zip(asked, given, strict=True)]
        )
    )


METRICS: Mapping[Metric, Callable[[Given, Asked], float]] = {
    "accuracy": _accuracy,
    "accuracy_mismatched": partial(_accuracy, part=1),
    "f1": _f1,
    "f1_macro": partial(_f1, average="macro"),
    "matthews": _matthews,
    "pearson": partial(_correlation, ranks=False),
    "spearman": partial(_correlation, ranks=True),
    "exact_match": _exact_match,
    "token_f1": partial(_credit, which=0),
    "token_exact_match": partial(_credit, which=1),
}


def scores(given: Given, asked: Asked, metrics: Sequence[Metric]) -> dict[str, float]:
    """Return the metrics, and where there are several their mean, which is a set's score on the official boards."""
    found: dict[str, float] = {metric: METRICS[metric](given, asked) for metric in metrics}
    return found if len(found) == 1 else {"score": float(np.mean(list(found.values()))), **found}


def count(metric: str, asked: Asked) -> int:
    """Return the number of examples behind a metric."""
    if metric == "exact_match":
        return len({question.group for question in asked})
    if metric.startswith("accuracy"):
        return sum(question.part == (metric == "accuracy_mismatched") for question in asked)
    return len(asked)


class Answered(torchmetrics.Metric):
    """Keeps what was answered to each question of a split, in all processes, and scores it together."""

    index: list[Tensor]
    given: list[Tensor]

    def __init__(self, questions: Asked, metrics: Sequence[Metric]) -> None:
        super().__init__()
        self.questions, self.metrics = questions, metrics
        for state in ("index", "given"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, given: Tensor) -> None:
        """Add a batch: numbers of questions [B], and what was answered [B]."""
        self.index.append(index)
        self.given.append(given)

    def compute(self) -> dict[str, Tensor]:
        """Return all scores by name."""
        index, given = (dim_zero_cat(state).cpu().numpy() for state in (self.index, self.given))
        found = scores(
            given.astype(np.float64), [self.questions[number] for number in index], self.metrics
        )
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}
