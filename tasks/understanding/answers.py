"""Official metrics of GLUE and SuperGLUE.

https://arxiv.org/abs/1804.07461, https://arxiv.org/abs/1905.00537
"""

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
        pairs: one or two texts for a head, as one pair; of a choice, a pair for each alternative.
        alternatives: possible answers in words.
        answer: index of the right class or alternative, or a score.
        words: the right answer in words.
        group: name shared by the examples of one question (MultiRC).
        part: index of its test split.
        credits: (F1, exact match) of each alternative against the accepted texts (ReCoRD).
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
        """Indices of the alternatives that are not accepted."""
        accepted = {number for number, (_, exact) in enumerate(self.credits) if exact}
        accepted.add(int(self.answer))
        return [number for number in range(len(self.alternatives)) if number not in accepted]


def credit(answer: str, accepted: Sequence[str]) -> tuple[float, float]:
    """Return F1 of words and exact match of an answer against the best accepted text, as in SQuAD.

    Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, section 6.1: without case, punctuation
    and articles.
    """
    words, scores = _words(answer), [0.0]
    for text in accepted:
        common = sum((Counter(words) & Counter(_words(text))).values())
        scores.append(2 * common / max(1, len(words) + len(_words(text))))
    return max(scores), float(any(words == _words(text) for text in accepted))


def _words(text: str) -> list[str]:
    plain = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


Answers = NDArray[np.float64]  # [N]: index of a class or alternative, or a score
Questions = Sequence[Question]  # the N questions


def _targets(questions: Questions) -> NDArray[np.float64]:
    return np.array([question.answer for question in questions])


def _accuracy(answers: Answers, questions: Questions, part: int = 0) -> float:
    in_part = np.array([question.part == part for question in questions])
    return float((answers == _targets(questions))[in_part].mean())


def _f1(answers: Answers, questions: Questions, average: str = "binary") -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(_targets(questions), answers, average=average, zero_division=0))


def _matthews(answers: Answers, questions: Questions) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(_targets(questions), answers))


def _correlation(answers: Answers, questions: Questions, ranks: bool) -> float:
    from scipy.stats import pearsonr, spearmanr

    if np.ptp(answers) == 0:  # constant answers correlate with nothing
        return 0.0
    return float((spearmanr if ranks else pearsonr)(answers, _targets(questions)).statistic)


def _exact_match(answers: Answers, questions: Questions) -> float:
    """Return the share of groups of which every answer is right."""
    wrong = {
        question.group
        for question, answer in zip(questions, answers, strict=True)
        if answer != question.answer
    }
    return 1 - len(wrong) / len({question.group for question in questions})


def _credit(answers: Answers, questions: Questions, which: int) -> float:
    credits_ = [
        question.credits[int(answer)][which]
        for question, answer in zip(questions, answers, strict=True)
    ]
    return float(np.mean(credits_))


METRICS: Mapping[Metric, Callable[[Answers, Questions], float]] = {
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


def scores(answers: Answers, questions: Questions, metrics: Sequence[Metric]) -> dict[str, float]:
    """Return the metrics; of several also "score", their mean, as on the official boards."""
    values: dict[str, float] = {name: METRICS[name](answers, questions) for name in metrics}
    if len(values) == 1:
        return values
    return {"score": float(np.mean(list(values.values()))), **values}


def count(metric: str, questions: Questions) -> int:
    """Return the number of examples behind a metric."""
    if metric == "exact_match":
        return len({question.group for question in questions})
    if metric.startswith("accuracy"):
        part = int(metric == "accuracy_mismatched")
        return sum(question.part == part for question in questions)
    return len(questions)


class Answered(torchmetrics.Metric):
    """Collects the answers to the questions of a split from all processes, and scores them."""

    index: list[Tensor]
    answers: list[Tensor]

    def __init__(self, questions: Questions, metrics: Sequence[Metric]) -> None:
        super().__init__()
        self.questions = questions
        self.metrics = metrics
        for state in ("index", "answers"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, answers: Tensor) -> None:
        """Add a batch: indices of questions [B], and the answers to them [B]."""
        self.index.append(index)
        self.answers.append(answers)

    def compute(self) -> dict[str, Tensor]:
        """Return all scores by name."""
        index, answers = (dim_zero_cat(state).cpu().numpy() for state in (self.index, self.answers))
        questions = [self.questions[number] for number in index]
        values = scores(answers.astype(np.float64), questions, self.metrics)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
