"""Answers to single questions, as columns of a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from moesuite.task import Columns
from moesuite.tasks.understanding.answers import Question


def answered(
    questions: Sequence[Question],
    parts: Sequence[str],
    index: Int[Tensor, " B"],
    answers: Float[Tensor, " B"],
    scores: Float[Tensor, "B A"],
    is_score: bool,
) -> Columns:
    """Return the columns of a batch of questions.

    Args:
        questions: of the whole test split.
        parts: names of the splits that it consists of.
        index: of the questions of the batch.
        answers: indices of classes or alternatives, or similarities.
        scores: of each class or alternative; -inf where a question has fewer.
        is_score: whether answers are similarities, which are not right or wrong.
    """
    answers, scores = answers.cpu(), scores.cpu()
    batch = [questions[number] for number in index.tolist()]
    columns: dict[str, Any] = {
        "id": [str(number) for number in index.tolist()],
        "target": [question.answer for question in batch],
        "prediction": answers.double(),
    }
    if not is_score:
        columns |= _choices(batch, [int(answer) for answer in answers])
    columns["scores"] = [row[row.isfinite()].tolist() for row in scores]
    if questions[0].group:
        columns["group"] = [question.group for question in batch]
    if len(parts) > 1:
        columns["part"] = [parts[question.part] for question in batch]
    return columns


def _choices(batch: Sequence[Question], answers: Sequence[int]) -> Columns:
    pairs = list(zip(batch, answers, strict=True))
    columns: dict[str, Any] = {
        "target": [int(question.answer) for question in batch],
        "prediction": answers,
        "right": [answer not in question.wrong for question, answer in pairs],
        "answer": [question.alternatives[answer] for question, answer in pairs],
    }
    if batch[0].credits:
        credits_ = [question.credits[answer] for question, answer in pairs]
        columns["token_f1"] = [f1 for f1, _ in credits_]
        columns["token_exact_match"] = [exact for _, exact in credits_]
    return columns
