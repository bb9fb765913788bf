"""Text that is tokenised while it streams from the hub: nothing on disk, a window of it at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from moesuite.tasks.language.packed import Sample
from moesuite.tasks.text.tokenizer import Tokenizer

BUFFER = 1024  # documents that are shuffled


class StreamedTokens(IterableDataset[Sample]):
    """Training sequences of packed tokens, shuffled in a buffer of documents, shared out among processes.

    Args:
        rows: streamed rows.
        column: of text.
        tokenizer: one that does not depend on the text.
        length: tokens of a sequence.
    """

    def __init__(self, rows: Any, column: str, tokenizer: Tokenizer, length: int) -> None:
        self.rows, self.column, self.tokenizer, self.length = rows, column, tokenizer, length
        self.epoch = self.seed = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Sample]:
        rows = self.rows.shuffle(seed=self.seed, buffer_size=BUFFER)
        rows.set_epoch(self.epoch)
        kept, number = np.empty(0, dtype=np.int64), 0
        for row in rows:
            kept = np.concatenate(
                [kept, self.tokenizer.encode(row[self.column].encode()).astype(np.int64)]
            )
            while len(kept) > self.length:
                number += 1
                yield (
                    kept[: self.length + 1],
                    self.length,
                    hash((self.seed, self.epoch, number)) & 0x7FFFFFFF,
                )
                kept = kept[self.length :]


def first_documents(
    rows: Any, column: str, tokenizer: Tokenizer, count: int
) -> tuple[np.ndarray, float]:
    """Return the tokens of the first `count` documents of a stream, and their bytes per token, line ends included."""
    documents = [row[column].encode() for row in islice(rows, count)]
    tokens = np.concatenate([tokenizer.encode(document) for document in documents])
    return tokens, sum(len(document) + 1 for document in documents) / len(tokens)
