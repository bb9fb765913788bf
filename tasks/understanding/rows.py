"""From questions to rows of a model: one for each text, pair of texts, or alternative."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from torch.utils.data import Dataset

from moesuite.task import Key
from moesuite.tasks.understanding.answers import Question, Texts

TRAINED = 4  # alternatives of a choice that are trained on, the right one among them


class Sample(NamedTuple):
    """The rows of one question.

    Attributes:
        number: index of the question.
        texts: one or two texts of each row.
        words: the words of each row that a decoder writes; empty for a head.
        answer: the right row, class or score.
    """

    number: int
    texts: Sequence[Texts]
    words: Sequence[str]
    answer: float


class Rows(Dataset[Sample]):
    """The rows of each question.

    In training they are the right alternative and a few others, drawn by the key's seed.
    """

    def __init__(self, questions: Sequence[Question], in_words: bool, training: bool) -> None:
        self.questions = questions
        self.in_words = in_words
        self.training = training

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, key: Key) -> Sample:
        index, seed = key if isinstance(key, tuple) else (key, 0)
        question = self.questions[index]
        if self.in_words:
            words = [question.words] if self.training else question.alternatives
            return Sample(index, [(question.prompt,)] * len(words), words, question.answer)
        if not self.training or len(question.pairs) == 1:
            return Sample(index, question.pairs, [], question.answer)
        right, wrong = int(question.answer), question.wrong
        sampled = random.Random(seed).sample(wrong, min(TRAINED - 1, len(wrong)))
        rows = sorted([right, *sampled])
        return Sample(index, [question.pairs[row] for row in rows], [], float(rows.index(right)))
