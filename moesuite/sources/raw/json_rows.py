"""Rows of JSON and JSON lines, faults named by their line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from moesuite.sources.layout import role_of
from moesuite.sources.raw.content import read_bytes


def json_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON file: a list of objects, columns, or one list under a name.

    Raises:
        ValueError: for what is no JSON, or holds no rows.
    """
    text = file.read_text(encoding="utf-8-sig")
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:  # maybe JSON lines under the name of JSON
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        values = [_line(number, line, error) for number, line in lines]
    if isinstance(values, dict):
        values = _rows_within(values)
    if not isinstance(values, list) or not all(isinstance(row, dict) for row in values):
        raise ValueError('expected a list of objects, for example [{"text": "…", "label": 0}]')
    return values


def _line(number: int, line: str, whole: Exception) -> Any:
    """Return the value of a JSON line; `whole` is what is wrong if all lines are one value."""
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        reason = whole if number == 1 else f"line {number}: {error.msg}: {line[:60]}"
        raise ValueError(str(reason)) from None


def broken_line(file: Path) -> str:
    """Return the number of the first line that is no JSON, and what is wrong; empty for none."""
    with file.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            try:
                value = json.loads(line) if line.strip() else {}
            except json.JSONDecodeError as error:
                return f"line {number}: {error.msg}: {line.strip()[:60]}"
            if not isinstance(value, dict):
                return f"line {number}: {line.strip()[:60]}"
    return ""


def named_splits(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split in one JSON file, {"train": [...], "test": [...]}; or none."""
    try:
        values = json.loads(read_bytes(file))
    except ValueError:
        return {}
    if not isinstance(values, dict) or not any(map(role_of, values)):
        return {}
    lists = {name: rows for name, rows in values.items() if isinstance(rows, list) and rows}
    return {name: rows for name, rows in lists.items() if isinstance(rows[0], dict)}


def _rows_within(values: dict[str, Any]) -> Any:
    """Return the one list of objects in a JSON object, or the rows of its columns."""
    lists = {name: value for name, value in values.items() if isinstance(value, list)}
    tables = [rows for rows in lists.values() if rows and isinstance(rows[0], dict)]
    if len(tables) == 1:
        return tables[0]
    if len(lists) == len(values) and len({len(column) for column in lists.values()}) == 1:
        return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]
    return values
