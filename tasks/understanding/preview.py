"""Questions as a reader is shown them, with their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from moesuite.task import Example, Lazy, Preview
from moesuite.tasks.understanding.answers import Question, Texts
from moesuite.tasks.understanding.subset import Subset


def preview(
    questions: Sequence[Question],
    declared: Subset,
    count: Callable[[Texts], int],
    length: int,
    in_words: bool,
) -> Preview:
    """Return what a reader wants to see of a split.

    Args:
        questions: of the split.
        declared: their set.
        count: a text or a pair of texts -> its tokens before it is cut.
        length: tokens that are kept.
        in_words: whether the model reads prompts and answers in words.
    """
    is_score = declared.form == "score"
    answers = [each.answer if is_score else each.words for each in questions]

    def example(index: int) -> Example:
        texts = tuple(dict.fromkeys(chain.from_iterable(questions[index].pairs)))
        return Example(texts=texts, label=answers[index])

    def tokens(index: int) -> list[int]:
        rows = [(questions[index].prompt,)] if in_words else questions[index].pairs
        return [count(row) for row in rows]

    # entities of a passage (ReCoRD) are answers, but no classes
    labels = answers if declared.labels or is_score else []
    return Preview(Lazy(len(questions), example), labels, declared.labels, tokens, length)
