"""From a text to the sequences of its splits: read whole, or streamed from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import Dataset

from moesuite.task import Example, Lazy, Preview, joined
from moesuite.tasks.language.packed import Packed, Sample, Sliding, check_length
from moesuite.tasks.language.stream import StreamedTokens, first_documents
from moesuite.tasks.options import Tokens
from moesuite.tasks.text.corpus import Text, TextSource, check_column, read_stdlib, read_text
from moesuite.tasks.text.tokenizer import Symbol, build_tokenizer, tokens_of


@dataclass(frozen=True)
class Sequences:
    """Sequences of tokens, as read.

    Attributes:
        splits: data set of each role.
        vocabulary: number of tokens of the tokenizer.
        symbol: token id -> text.
        bytes_per_token: of the test split, line ends included.
        fingerprint: of what was read.
        description: one line for the record.
        sizes: bytes of each role; empty for a stream.
        text: what was read; None for a stream.
    """

    splits: Mapping[str, Dataset[Any]]
    vocabulary: int
    symbol: Symbol
    bytes_per_token: float
    fingerprint: str
    description: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    text: Text | None = None

    def preview(self, role: str) -> Preview:
        """Return the sequences of a split as texts, and its size."""
        split: Any = self.splits[role]

        def example(sample: Sample) -> Example:
            ids = sample[0][:-1].tolist()
            if self.symbol is chr:  # bytes
                return Example(texts=(bytes(ids).decode(errors="replace"),))
            return Example(texts=(joined([self.symbol(token) for token in ids]),))

        if isinstance(split, StreamedTokens):
            return Preview(map(example, split))
        figures = {"tokens": len(split.tokens)}
        if role in self.sizes:
            figures["bytes"] = self.sizes[role]
        return Preview(Lazy(len(split), lambda index: example(split[index])), figures=figures)


def read_sequences(data: TextSource, tokens: Tokens, stride: int) -> Sequences:
    """Read and tokenise a text; a streamed one is tokenised while training.

    Args:
        data: where the text comes from.
        tokens: tokenizer, and length of a sequence.
        stride: tokens between windows in evaluation.

    Raises:
        UserError: for a text that is missing, empty, or too short for one sequence.
    """
    if data.streaming and not data.is_embedded:
        return _stream(data, tokens, stride)
    text = read_stdlib() if data.is_embedded else read_text(data)
    numbers = tokens_of(text, tokens.tokenizer)
    splits: dict[str, Dataset[Any]] = {}
    for role, ids in numbers.splits.items():
        check_length(ids, tokens.length, f"{text.description}: split {role}")
        if role == "train":
            splits[role] = Packed(ids, tokens.length)
        else:
            splits[role] = Sliding(ids, tokens.length, stride)
    return Sequences(
        splits,
        numbers.vocabulary,
        numbers.symbol,
        numbers.size["test"] / len(numbers.splits["test"]),
        text.fingerprint,
        f"{text.description}; gzip -9 needs {numbers.gzip:.3f} bits per byte of test",
        numbers.size,
        text,
    )


def _stream(data: TextSource, tokens: Tokens, stride: int) -> Sequences:
    """Train on a stream, evaluate on the first documents of its test split."""
    loaded = data.load(data.splits, data.config, streaming=True)
    tokenizer = build_tokenizer(tokens.tokenizer, [])
    train, test = loaded.splits["train"], loaded.splits["test"]
    check_column(train, data.column, loaded.description)
    count = data.eval_documents
    description = f"{loaded.description}, streamed; first {count} documents of test"
    ids, bytes_per_token = first_documents(test, data.column, tokenizer, count)
    check_length(ids, tokens.length, description)
    splits: dict[str, Dataset[Any]] = {
        "train": StreamedTokens(train, data.column, tokenizer, tokens.length),
        "test": Sliding(ids, tokens.length, stride),
    }
    return Sequences(
        splits,
        tokenizer.size,
        tokenizer.symbol,
        bytes_per_token,
        loaded.fingerprint,
        description,
    )
