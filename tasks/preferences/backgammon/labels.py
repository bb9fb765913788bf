"""Backgammon positions with labels, from files or self-play.

Files (parquet, JSON lines, CSV, ...) have a row for each position: `position` (id), `alternatives`
(ids of the boards after each legal move, as the player who moved sees them), `scores` (of each; the
expert's, higher is better). In CSV and TSV a cell holds a list as JSON. Other columns, such as the
`dice` of positions from self-play, are not read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from math import isfinite
from typing import Any

import numpy as np

from moesuite.task import HubSource, Source, UserError
from moesuite.tasks.preferences.backgammon.positions import decode
from moesuite.tasks.preferences.backgammon.selfplay import EXPERTS, Recipe, made

COLUMNS = ("position", "alternatives", "scores")
SPLITS = {"train": "train", "test": "test"}
AT_ONCE = 20_000  # ids that are decoded at once


def labelled(source: str | None, recipe: Recipe) -> Source:
    """Return labelled positions, from files, the cache, or made now.

    Raises:
        UserError: for files without a column, or an expert that is neither installed nor has labels
            in the cache.
    """
    loaded = HubSource(source=source or str(made(recipe))).load(SPLITS)
    for role, rows in loaded.splits.items():
        if missing := [name for name in COLUMNS if name not in rows.column_names]:
            raise UserError(
                f"{loaded.description}, split {role} has no column {missing[0]!r}; its columns: "
                f"{', '.join(rows.column_names)}; expected {', '.join(COLUMNS)}"
            )
    if source is not None:
        return loaded
    experts = json.loads((recipe.folder / EXPERTS).read_text())
    return replace(loaded, description=f"self-play, train by {experts[0]}, test by {experts[1]}")


def read(rows: Any, where: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return boards [n, 2, 25] and scores [n] of each position with a choice.

    A position without a choice is left out.

    Raises:
        UserError: for values of another kind, malformed ids, positions that are not legal, scores
            that are not finite, or not as many as alternatives.
    """
    columns = [list(map(_parsed, rows[name])) for name in COLUMNS]
    for number, row in enumerate(zip(*columns, strict=True)):
        if wrong := _wrong(*row):
            raise UserError(f"{where}, row {number}: {wrong}")
    positions, names, scores = columns
    for first in range(0, len(positions), AT_ONCE):
        decode(positions[first : first + AT_ONCE])
    flat = list(chain.from_iterable(names))
    boards = np.concatenate(
        [decode(flat[i : i + AT_ONCE]) for i in range(0, len(flat), AT_ONCE)] or [decode([])]
    )
    ends = np.cumsum([len(alternatives) for alternatives in names], dtype=np.int64)
    parts = np.split(boards, ends[:-1])  # without rows there is one empty part
    return [
        (part, np.asarray(values, dtype=np.float32))
        for part, values in zip(parts, scores, strict=False)
        if len(values) > 1
    ]


def _parsed(cell: Any) -> Any:
    """Return the list that a text holds as JSON; any other cell as it is."""
    if not isinstance(cell, str) or not cell.lstrip().startswith("["):
        return cell
    try:
        return json.loads(cell)
    except ValueError:
        return cell


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
