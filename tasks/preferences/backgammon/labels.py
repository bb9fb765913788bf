"""Backgammon positions with labels, from files or self-play.

Tables have a row for each position: `position` (id), `alternatives` (ids of the boards after each
legal move, as the player who moved sees them), `scores` (of each; the expert's, higher is better).
In text, as in CSV, the latter two are lists in brackets, or words with spaces between. Other
columns, such as the `dice` of positions from self-play, are not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from moesuite.task import (
    Column,
    HubSource,
    Readable,
    Source,
    UserError,
    match_columns,
    note_of,
)
from moesuite.tasks.preferences.backgammon.positions import decode
from moesuite.tasks.preferences.backgammon.selfplay import EXPERTS, Recipe, made

READABLE = Readable(
    "labelled positions of backgammon in tables (parquet, csv, tsv, jsonl, json, arrow, "
    "save_to_disk) with the columns position, alternatives and scores"
)
WANTED = (
    Column("position", "text", guessed=False),
    Column("alternatives", "list", guessed=False),
    Column("scores", "list", guessed=False),
)
WORD = re.compile(r"""[^\s,;'"\[\]()]+""")  # of a list in text
SPLITS = {"train": "train", "test": "test"}
AT_ONCE = 20_000  # ids that are decoded at once


def labelled(source: str | None, recipe: Recipe) -> Source:
    """Return labelled positions, from files, the cache, or made now.

    Raises:
        UserError: for files without a column, or an expert that is neither installed nor has labels
            in the cache.
    """
    hub = HubSource(source=source or str(made(recipe)))
    loaded = hub.load(SPLITS, readable=READABLE)
    notes = list(loaded.notes)
    for role, rows in loaded.splits.items():
        matched = match_columns(rows, WANTED, f"{loaded.description}, split {role}")
        notes.append(note_of(matched, WANTED))
    if source is not None:
        return replace(loaded, notes=tuple(dict.fromkeys(filter(None, notes))))
    experts = json.loads((recipe.folder / EXPERTS).read_text(encoding="utf-8"))
    return replace(loaded, description=f"self-play, train by {experts[0]}, test by {experts[1]}")


def read(rows: Any, where: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return boards [n, 2, 25] and scores [n] of each position with a choice.

    A position without a choice is left out.

    Raises:
        UserError: for values of another kind, malformed ids, positions that are not legal, scores
            that are not finite, or not as many as alternatives.
    """
    matched = match_columns(rows, WANTED, where)
    positions = list(rows[matched["position"]])
    names = [_listed(cell) for cell in rows[matched["alternatives"]]]
    scores = [_listed(cell, _number) for cell in rows[matched["scores"]]]
    for number, row in enumerate(zip(positions, names, scores, strict=True)):
        if wrong := _wrong(*row):
            raise UserError(f"{where}, row {number}: {wrong}")
    _boards(list(enumerate(positions)), where)
    boards = _boards([(row, name) for row, own in enumerate(names) for name in own], where)
    ends = np.cumsum([len(alternatives) for alternatives in names], dtype=np.int64)
    parts = np.split(boards, ends[:-1])  # without rows there is one empty part
    return [
        (part, np.asarray(values, dtype=np.float32))
        for part, values in zip(parts, scores, strict=False)
        if len(values) > 1
    ]


def _boards(ids: Sequence[tuple[int, str]], where: str) -> np.ndarray:
    """Return the boards [n, 2, 25] of ids with their rows.

    Raises:
        UserError: for the first id that is malformed or not legal, with its row.
    """
    parts = [decode([])]
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        try:
            parts.append(decode([name for _, name in some]))
        except UserError:
            for row, name in some:
                _check(name, f"{where}, row {row}")
            raise
    return np.concatenate(parts)


def _check(name: str, place: str) -> None:
    try:
        decode([name])
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def _listed(cell: Any, convert: Callable[[str], Any] = str) -> Any:
    """Return the list that stands in text; other values as they are."""
    return [convert(word) for word in WORD.findall(cell)] if isinstance(cell, str) else cell


def _number(word: str) -> float | str:
    """Return the number of a word; of another word the word, which is refused by its row."""
    try:
        return float(word)
    except ValueError:
        return word


def _wrong(position: Any, alternatives: Any, scores: Any) -> str:
    """Return what is wrong with a row; empty for nothing."""
    if not isinstance(position, str):
        return f"position {position!r}; expected a position id"
    if not isinstance(alternatives, list) or not all(isinstance(i, str) for i in alternatives):
        return f"alternatives {alternatives!r}; expected a list of position ids"
    if not isinstance(scores, list) or not all(_is_finite(score) for score in scores):
        return f"scores {scores!r}; expected a list of finite numbers"
    if len(alternatives) != len(scores):
        return f"{len(scores)} scores of {len(alternatives)} alternatives; expected one for each"
    return ""


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)
