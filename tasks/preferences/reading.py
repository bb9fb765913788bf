"""Choices as read: backgammon positions, or pairs of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from moesuite.task import Source, UserError
from moesuite.tasks.options import Tokens
from moesuite.tasks.preferences.backgammon.labels import labelled, read
from moesuite.tasks.preferences.backgammon.positions import tokens
from moesuite.tasks.preferences.backgammon.selfplay import Recipe
from moesuite.tasks.preferences.choices import Choice
from moesuite.tasks.preferences.dialogues import Dialogues, read_pairs
from moesuite.tasks.text.encoder import Ids, TextEncoder, text_encoder

WHOLE = 1 << 20  # tokens: the encoder cuts no text; `TextChoices` does
HELD_OUT = 0.05  # share of the training choices for validation
Roles = dict[str, list[Choice]]


def read_moves(source: str | None, recipe: Recipe) -> tuple[Roles, Source]:
    """Return the moves of labelled positions, from `source` or made by `recipe`."""
    loaded = labelled(source, recipe)
    roles, notes = {}, [*loaded.notes]
    for role, rows in loaded.splits.items():
        choices = read(rows, f"{loaded.description}, split {role}")
        roles[role] = [Choice(tokens(boards), scores) for boards, scores in choices]
        if left_out := len(rows) - len(choices):
            notes.append(
                f"split {role}: {left_out:,} of {len(rows):,} positions left out, which have fewer "
                "than two alternatives"
            )
    return roles, replace(loaded, notes=tuple(notes))


class TextChoices:
    """Pairs of texts as choices of two, and their tokenizer.

    Args:
        data: where texts come from.
        options: tokenizer, and tokens that are kept of a text.
    """

    def __init__(self, data: Dialogues, options: Tokens) -> None:
        self.data = data
        self.options = options

    @cached_property
    def pairs(self) -> tuple[dict[str, list[tuple[str, str]]], Source]:
        """(chosen, rejected) of each role, and the source; read once."""
        return read_pairs(self.data)

    @cached_property
    def encoder(self) -> TextEncoder:
        """The tokenizer, loaded or trained once."""

        def train() -> list[str]:
            return list(chain.from_iterable(self.pairs[0]["train"]))

        return text_encoder(self.options.tokenizer, WHOLE, train)

    def read(self) -> tuple[Roles, Source]:
        """Return the choices of each role: the chosen text first, with score 1, the other 0."""
        pairs, source = self.pairs
        encode = self.encoder.encode
        scores = np.array([1, 0], dtype=np.float32)
        roles = {
            role: [Choice([self._end(ids) for ids in encode(pair)], scores) for pair in role_pairs]
            for role, role_pairs in pairs.items()
        }
        return roles, source

    def _end(self, ids: Ids) -> Ids:
        """Return the first token, maybe a special one, and the end, where dialogues differ."""
        length = self.options.length
        if len(ids) <= length:
            return ids
        return np.concatenate([ids[:1], ids[1 - length :]])


def prepared(
    roles: Mapping[str, Sequence[Any]], train_on: int | None, source: Source
) -> tuple[dict[str, Sequence[Any]], Source]:
    """Return train, val and test, and the source, whose notes say what the validation split is.

    Raises:
        UserError: see `validated`.
    """
    splits = validated(roles, train_on, source.description)
    if roles.get("val"):
        return splits, source
    held_out = len(splits["val"])
    total = held_out + len(splits["train"])
    note = f"no validation split: the last {held_out:,} of {total:,} training choices are it"
    return splits, replace(source, notes=(*source.notes, note))


def validated(
    roles: Mapping[str, Sequence[Any]], train_on: int | None, where: str
) -> dict[str, Sequence[Any]]:
    """Return train, val and test; without a validation split it is the end of the training split.

    Args:
        roles: choices, or pairs of texts, of train, test, and maybe val.
        train_on: number of training choices to use, the first ones; None: all.
        where: name of the data for messages.

    Raises:
        UserError: for fewer than 2 training choices or no test choice.
    """
    train = roles["train"][:train_on]
    held_out = 0 if roles.get("val") else max(1, round(HELD_OUT * len(train)))
    if len(train) <= max(1, held_out) or not roles["test"]:
        raise UserError(
            f"{where}: {len(train)} choices to train on and {len(roles['test'])} to test; "
            "expected at least 2 and 1"
        )
    end = len(train) - held_out
    return {"train": train[:end], "val": roles.get("val") or train[end:], "test": roles["test"]}
