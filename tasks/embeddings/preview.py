"""Texts as a reader is shown them, with the class or the score of each."""

from __future__ import annotations

from collections.abc import Callable

from moesuite.task import Example, Lazy, Preview
from moesuite.tasks.embeddings.pairs import Reading


def preview(
    reading: Reading, role: str, kind: str, count: Callable[[str], int], length: int
) -> Preview:
    """Return what a reader wants to see of a split: of the test split what is scored.

    Args:
        reading: the texts.
        role: name of the split.
        kind: of evaluation; only texts with a class have one in training.
        count: a text -> its tokens before it is cut.
        length: tokens that are kept of a text.
    """
    examples = [example for example in reading.roles[role] if example.scored]
    labels: list[str] | list[float] = []
    if kind == "classification":
        several = len(reading.names) > 1
        prefixes = [f"{name} " if several else "" for name in reading.names]
        labels = [
            f"{prefixes[each.group]}{reading.classes[each.group][int(each.target)]}"
            for each in examples
        ]
    elif kind == "similarity" and role != "train":  # of close pairs, which are all alike
        labels = [example.target for example in examples]

    def example(index: int) -> Example:
        return Example(texts=examples[index].texts, label=labels[index] if labels else None)

    def tokens(index: int) -> list[int]:
        return [count(text) for text in examples[index].texts]

    return Preview(Lazy(len(examples), example), labels, tokens=tokens, length=length)
