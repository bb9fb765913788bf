"""From a text to the sequences of its splits: read whole, or streamed from the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch.utils.data import Dataset

from moesuite.task import Example, Lazy, Preview, UserError, joined
from moesuite.tasks.language.packed import Packed, Sample, Sliding, check_length
from moesuite.tasks.language.stream import StreamedTokens, first_documents
from moesuite.tasks.options import Tokens
from moesuite.tasks.text.columns import text_column
from moesuite.tasks.text.corpus import STREAMABLE, Text, TextSource, read_stdlib, read_text
from moesuite.tasks.text.tokenizer import Symbol, build_tokenizer, tokens_of

Part = TypeVar("Part")


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
        notes: sentences for the reader.
        domains: name -> bytes per token of its test split; empty for a text of one domain.
    """

    splits: Mapping[str, Dataset[Any]]
    vocabulary: int
    symbol: Symbol
    bytes_per_token: float
    fingerprint: str
    description: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    text: Text | None = None
    notes: tuple[str, ...] = ()
    domains: Mapping[str, float] = field(default_factory=dict)

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
        if self.domains and isinstance(split, Sliding):
            names = [*self.domains]
            figures |= {f"tokens of {names[i]}": len(part) for i, part in split.parts.items()}
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
    shortest = min(numbers.splits, key=lambda key: len(numbers.splits[key]))
    where = f"{text.description}: split {shortest}"
    check_length(numbers.splits[shortest], tokens.length, where)
    domains = [key.partition("/")[2] for key in numbers.splits if key.startswith("test")]
    splits: dict[str, Dataset[Any]] = {"train": Packed(numbers.splits["train"], tokens.length)}
    for role in ("val", "test"):
        if parts := _of_role(role, domains, numbers.splits):
            splits[role] = Sliding(parts, tokens.length, stride)
    sizes = {role: sum(_of_role(role, domains, numbers.size).values()) for role in splits}
    tests = _of_role("test", domains, numbers.splits)
    per_token = {
        name: numbers.size[f"test/{name}"] / len(tests[number])
        for number, name in enumerate(domains)
        if name
    }
    return Sequences(
        splits,
        numbers.vocabulary,
        numbers.symbol,
        sizes["test"] / sum(map(len, tests.values())),
        text.fingerprint,
        f"{text.description}; gzip -9 needs {numbers.gzip:.3f} bits per byte of test",
        sizes,
        text,
        text.notes,
        per_token,
    )


def _of_role(role: str, domains: Sequence[str], parts: Mapping[str, Part]) -> dict[int, Part]:
    """Return what belongs to a role, of each domain by its number, or of all as 0."""
    keys = {number: f"{role}/{name}" for number, name in enumerate(domains)}
    found = {number: parts[key] for number, key in keys.items() if key in parts}
    return found | ({0: parts[role]} if role in parts else {})


def _stream(data: TextSource, tokens: Tokens, stride: int) -> Sequences:
    """Train on a stream, evaluate on the first documents of its test split."""
    loaded = data.load(data.splits, data.config, streaming=True, readable=STREAMABLE)
    tokenizer = build_tokenizer(tokens.tokenizer, [])
    if "test" not in loaded.splits:
        raise UserError(
            f"{loaded.description}: no test or validation split to evaluate a stream on; expected "
            "one; type task.streaming=false, which holds out a tenth"
        )
    train, test = loaded.splits["train"], loaded.splits["test"]
    column = text_column(train, data.column, loaded.description)
    count = data.eval_documents
    description = f"{loaded.description}, streamed; first {count} documents of test"
    ids, bytes_per_token = first_documents(test, column, tokenizer, count)
    check_length(ids, tokens.length, description)
    splits: dict[str, Dataset[Any]] = {
        "train": StreamedTokens(train, column, tokenizer, tokens.length),
        "test": Sliding({0: ids}, tokens.length, stride),
    }
    return Sequences(
        splits,
        tokenizer.size,
        tokenizer.symbol,
        bytes_per_token,
        loaded.fingerprint,
        description,
        notes=loaded.notes,
    )
