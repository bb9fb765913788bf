"""Text that is tokenised while it streams from the hub, without a copy on disk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from moesuite.task import UserError
from moesuite.tasks.language.packed import Sample
from moesuite.tasks.text.tokenizer import Tokenizer

BUFFER = 1024  # documents that are shuffled


def as_stream(rows: Any) -> Any:
    """Return rows of `datasets` to be read one after another, also those that are at hand."""
    return rows if hasattr(rows, "n_shards") else rows.to_iterable_dataset()


def _readable(rows: Any) -> Iterator[Any]:
    """Yield rows; raise `UserError` at a broken one."""
    import datasets
    import pyarrow

    try:
        yield from rows
    except (pyarrow.ArrowException, datasets.exceptions.DatasetGenerationError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise UserError(
            f"the stream is unreadable: {reason}; expected whole rows; type "
            "task.streaming=false, which names the file"
        ) from None


class StreamedTokens(IterableDataset[Sample]):
    """Training sequences of packed tokens, sharded over processes.

    Documents are shuffled in a buffer.

    Args:
        rows: of `datasets`, streamed or at hand.
        column: name of the column of text.
        tokenizer: one that does not learn its vocabulary from the text.
        length: tokens of a sequence.
    """

    def __init__(self, rows: Any, column: str, tokenizer: Tokenizer, length: int) -> None:
        self.rows = as_stream(rows)
        self.column = column
        self.tokenizer = tokenizer
        self.length = length
        self.epoch = 0
        self.seed = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which with the seed determines the order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Sample]:
        rows = self.rows.shuffle(seed=self.seed, buffer_size=BUFFER)
        rows.set_epoch(self.epoch)
        pending, number = np.empty(0, dtype=np.int64), 0
        for row in _readable(rows):
            document = self.tokenizer.encode((row[self.column] or "").encode()).astype(np.int64)
            pending = np.concatenate([pending, document])
            while len(pending) > self.length:
                number += 1
                seed = hash((self.seed, self.epoch, number)) & 0x7FFFFFFF
                yield Sample(pending[: self.length + 1], self.length, seed)
                pending = pending[self.length :]


def first_documents(
    rows: Any, column: str, tokenizer: Tokenizer, count: int
) -> tuple[np.ndarray, float]:
    """Return the tokens of the first `count` documents of a stream, and their bytes per token.

    The line end after each document counts as a byte.
    """
    documents = [(row[column] or "").encode() for row in islice(_readable(rows), count)]
    tokens = np.concatenate([tokenizer.encode(document) for document in documents])
    return tokens, sum(len(document) + 1 for document in documents) / len(tokens)
