"""From texts to padded tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moesuite.task import UserError
from moesuite.tasks.text.tokenizer import OWN, Symbol, build_tokenizer, load_tokenizer

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TextEncoder:
    """How texts become tokens.

    Attributes:
        size: of the vocabulary, padding included.
        padding: the token that fills up.
        encode: texts -> token ids of each.
        rows: single texts or pairs of texts -> padded inputs of a model [N, T].
        symbol: token id -> what stands in the text.
    """

    size: int
    padding: int
    encode: Callable[[Sequence[str]], list[Ids]]
    rows: Callable[[Sequence[tuple[str, ...]]], dict[str, Tensor]]
    symbol: Symbol

    def words(self, batch: Mapping[str, Tensor]) -> list[list[str]]:
        """Return the tokens of each padded text of a batch as they stand in it, without padding."""
        pairs = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        return [[self.symbol(token) for token in ids[mask].tolist()] for ids, mask in pairs]


def text_encoder(
    name: str, length: int, train: Callable[[], Sequence[str]], closing: str = ""
) -> TextEncoder:
    """Return the encoder of a tokenizer; a pretrained one adds its special tokens, others end a text by its line end.

    Args:
        name: as for `build_tokenizer`.
        length: tokens that are kept of a text, >= 1.
        train: returns the training texts, for vocabularies of their own.
        closing: words at the end of every text, which stay when a text is cut.

    Raises:
        UserError: for a tokenizer that cannot be loaded, or `closing` words that leave no room for
            a text.
    """
    if name in OWN:
        return _own_encoder(name, length, train, closing)
    return _loaded_encoder(load_tokenizer(name), length, closing)


def _own_encoder(
    name: str, length: int, train: Callable[[], Sequence[str]], closing: str
) -> TextEncoder:
    own = build_tokenizer(name, [] if name == "byte" else [text.encode() for text in train()])
    kept = _room(len(own.encode(closing.encode())) if closing else 0, length, closing)

    def encode(texts: Sequence[str]) -> list[Ids]:
        return [_cut(own.encode(text.encode()).astype(np.int64), length, kept) for text in texts]

    def rows(texts: Sequence[tuple[str, ...]]) -> dict[str, Tensor]:
        return padded([_joined(encode(row), length) for row in texts], own.size)

    return TextEncoder(own.size + 1, own.size, encode, rows, own.symbol)


def _loaded_encoder(loaded: Any, length: int, closing: str) -> TextEncoder:
    padding = next(
        (token for token in (loaded.pad_token_id, loaded.eos_token_id) if token is not None), 0
    )
    kept = 0
    if closing:  # and the special tokens behind it
        special = loaded(closing, return_special_tokens_mask=True)["special_tokens_mask"]
        kept = _room(len(special) - special.index(0), length, closing)

    def encode(texts: Sequence[str]) -> list[Ids]:
        if not closing:
            return [row["input_ids"] for row in tokens([(text,) for text in texts])]
        found = loaded(list(texts), verbose=False)["input_ids"]
        return [_cut(np.asarray(ids, dtype=np.int64), length, kept) for ids in found]

    def tokens(texts: Sequence[tuple[str, ...]]) -> list[dict[str, Ids]]:
        if not texts:
            return []
        found = loaded(*map(list, zip(*texts, strict=True)), truncation=True, max_length=length)
        return [
            {key: np.asarray(found[key][row], dtype=np.int64) for key in found}
            for row in range(len(texts))
        ]

    def rows(texts: Sequence[tuple[str, ...]]) -> dict[str, Tensor]:
        found = tokens(texts)
        inputs = padded([row["input_ids"] for row in found], padding)
        if "token_type_ids" in found[0]:
            inputs["token_type_ids"] = padded([row["token_type_ids"] for row in found], 0)[
                "input_ids"
            ]
        return inputs

    return TextEncoder(len(loaded), padding, encode, rows, lambda token: loaded.decode([token]))


def _room(kept: int, length: int, closing: str) -> int:
    """Return `kept`, the number of tokens of `closing`."""
    if kept >= length:
        raise UserError(
            f"task.length={length}: the prompt's end {closing!r} alone has {kept} tokens; allowed: more than that; "
            f"type for example task.length={2 * kept}"
        )
    return kept


def _cut(ids: Ids, length: int, kept: int) -> Ids:
    """Return at most `length` tokens: the first ones, and the last `kept`."""
    return (
        ids
        if len(ids) <= length
        else np.concatenate([ids[: length - kept], ids[len(ids) - kept :]])
    )


def _joined(texts: Sequence[Ids], length: int) -> Ids:
    """Join one or two texts to `length` tokens at most; the longer one is cut first."""
    first, *rest = texts
    if not rest:
        return first
    first = first[: max(length - len(rest[0]), length - length // 2)]
    return np.concatenate([first, rest[0][: length - len(first)]])


def padded(texts: Sequence[Ids], padding: int) -> dict[str, Tensor]:
    """Return {input_ids, attention_mask} [N, T], T being the longest, filled up on the right."""
    longest = max(1, *(len(ids) for ids in texts))
    ids = torch.full((len(texts), longest), padding)
    mask = torch.zeros(len(texts), longest, dtype=torch.long)
    for row, tokens in enumerate(texts):
        ids[row, : len(tokens)] = torch.from_numpy(tokens)
        mask[row, : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": mask}
