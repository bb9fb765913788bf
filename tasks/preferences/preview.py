"""Choices as a reader is shown them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from moesuite.task import Example, Lazy, Preview
from moesuite.tasks.preferences.backgammon.positions import as_words
from moesuite.tasks.preferences.choices import Choice
from moesuite.tasks.text.encoder import TextEncoder


def preview_pairs(pairs: Sequence[tuple[str, str]], encoder: TextEncoder, length: int) -> Preview:
    """Return pairs of texts, the chosen one first.

    Args:
        pairs: chosen and rejected text of each.
        encoder: counts tokens.
        length: tokens that are kept of a text.
    """

    def tokens(index: int) -> list[int]:
        return [encoder.count((text,)) for text in pairs[index]]

    examples = Lazy(len(pairs), lambda index: Example(texts=pairs[index]))
    return Preview(examples, tokens=tokens, length=length)


def preview_moves(choices: Sequence[Choice]) -> Preview:
    """Return positions by the board after the expert's move."""

    def example(index: int) -> Example:
        scores = choices[index].scores
        board = choices[index].rows[int(scores.argmax())]
        (words,) = as_words(torch.from_numpy(np.asarray(board))[None])
        men = " ".join(word for word in words if not word.isdecimal())
        return Example(texts=(f"{len(scores)} legal moves; after the expert's: {men}",))

    counts = [len(choice.scores) for choice in choices]
    figures = {
        "moves a position, median": float(np.median(counts)),
        "moves a position, most": max(counts),
    }
    return Preview(Lazy(len(choices), example), figures=figures)
