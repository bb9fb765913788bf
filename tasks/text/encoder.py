"""From texts to padded batches of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moesuite.task import UserError
from moesuite.tasks.text.tokenizer import BUILT_IN, Symbol, build_tokenizer, load_tokenizer

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TextEncoder:
    """Encodes texts as tokens.

    Attributes:
        size: size of the vocabulary, padding included.
        padding: id of the padding token.
        encode: texts -> token ids of each.
        rows: single texts or pairs of texts -> padded inputs of a model [N, T].
        symbol: token id -> its text.
        count: a text or a pair of texts -> its number of tokens before it is cut.
    """

    size: int
    padding: int
    encode: Callable[[Sequence[str]], list[Ids]]
    rows: Callable[[Sequence[tuple[str, ...]]], dict[str, Tensor]]
    symbol: Symbol
    count: Callable[[tuple[str, ...]], int]

    def words(self, batch: Mapping[str, Tensor]) -> list[list[str]]:
        """Return the tokens of each text of a batch in words, without padding."""
        pairs = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        return [[self.symbol(token) for token in ids[mask].tolist()] for ids, mask in pairs]


def text_encoder(
    name: str, length: int, train: Callable[[], Sequence[str]], closing: str = ""
) -> TextEncoder:
    """Return the encoder of a tokenizer.

    A pretrained tokenizer adds its special tokens; a built-in one ends a text by a line end.

    Args:
        name: as for `build_tokenizer`.
        length: tokens that are kept of a text, >= 1.
        train: returns the training texts, for learned vocabularies.
        closing: words at the end of every text, which are kept when a text is cut.

    Raises:
        UserError: for a tokenizer that cannot be loaded, or `closing` words that leave no room for
            a text.
    """
    if name in BUILT_IN:
        return _built_in_encoder(name, length, train, closing)
    return _pretrained_encoder(load_tokenizer(name), length, closing)


def _built_in_encoder(
    name: str, length: int, train: Callable[[], Sequence[str]], closing: str
) -> TextEncoder:
    documents = [] if name == "byte" else [text.encode() for text in train()]
    tokenizer = build_tokenizer(name, documents)
    tail = len(tokenizer.encode(closing.encode())) if closing else 0
    _check_room(tail, length, closing)

    def encode(texts: Sequence[str]) -> list[Ids]:
        ids = [tokenizer.encode(text.encode()).astype(np.int64) for text in texts]
        return [_cut(text_ids, length, tail) for text_ids in ids]

    def rows(texts: Sequence[tuple[str, ...]]) -> dict[str, Tensor]:
        return padded([_joined(encode(row), length) for row in texts], tokenizer.size)

    def count(texts: tuple[str, ...]) -> int:
        return sum(len(tokenizer.encode(text.encode())) for text in texts)

    # padding is one more token
    return TextEncoder(tokenizer.size + 1, tokenizer.size, encode, rows, tokenizer.symbol, count)


def _pretrained_encoder(tokenizer: Any, length: int, closing: str) -> TextEncoder:
    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id)
    padding = next((token for token in candidates if token is not None), 0)
    tail = 0
    if closing:  # and the special tokens after it
        special = tokenizer(closing, return_special_tokens_mask=True)["special_tokens_mask"]
        tail = len(special) - special.index(0)
        _check_room(tail, length, closing)

    def encode(texts: Sequence[str]) -> list[Ids]:
        if not closing:
            return [row["input_ids"] for row in tokens([(text,) for text in texts])]
        rows = tokenizer(list(texts), verbose=False)["input_ids"]
        return [_cut(np.asarray(ids, dtype=np.int64), length, tail) for ids in rows]

    def tokens(texts: Sequence[tuple[str, ...]]) -> list[dict[str, Ids]]:
        if not texts:
            return []
        columns = map(list, zip(*texts, strict=True))
        encoded = tokenizer(*columns, truncation=True, max_length=length)
        return [
            {key: np.asarray(encoded[key][row], dtype=np.int64) for key in encoded}
            for row in range(len(texts))
        ]

    def rows(texts: Sequence[tuple[str, ...]]) -> dict[str, Tensor]:
        encoded = tokens(texts)
        inputs = padded([row["input_ids"] for row in encoded], padding)
        if "token_type_ids" in encoded[0]:
            types = padded([row["token_type_ids"] for row in encoded], 0)
            inputs["token_type_ids"] = types["input_ids"]
        return inputs

    def symbol(token: int) -> str:
        return tokenizer.decode([token])

    def count(texts: tuple[str, ...]) -> int:
        return len(tokenizer(*texts, verbose=False)["input_ids"])

    return TextEncoder(len(tokenizer), padding, encode, rows, symbol, count)


def _check_room(tail: int, length: int, closing: str) -> None:
    """Raise `UserError` if the `tail` tokens of `closing` leave no room for a text."""
    if tail >= length:
        raise UserError(
            f"task.length={length}: the prompt's end {closing!r} alone has {tail} tokens; "
            f"expected more than that; type for example task.length={2 * tail}"
        )


def _cut(ids: Ids, length: int, tail: int) -> Ids:
    """Return at most `length` tokens: the first ones, and the last `tail`."""
    if len(ids) <= length:
        return ids
    return np.concatenate([ids[: length - tail], ids[len(ids) - tail :]])


def _joined(texts: Sequence[Ids], length: int) -> Ids:
    """Join one or two texts to `length` tokens at most; the longer one is cut first."""
    first, *rest = texts
    if not rest:
        return first
    first = first[: max(length - len(rest[0]), length - length // 2)]
    return np.concatenate([first, rest[0][: length - len(first)]])


def padded(texts: Sequence[Ids], padding: int) -> dict[str, Tensor]:
    """Return {input_ids, attention_mask} [N, T], padded on the right to the longest text."""
    longest = max(1, *(len(ids) for ids in texts))
    ids = torch.full((len(texts), longest), padding)
    mask = torch.zeros(len(texts), longest, dtype=torch.long)
    for row, tokens in enumerate(texts):
        ids[row, : len(tokens)] = torch.from_numpy(tokens)
        mask[row, : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": mask}
