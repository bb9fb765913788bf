"""The column of text of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from moesuite.task import Column, UserError, match_columns

TEXT = Column("text", "text", "text", "task.column")


def text_column(rows: Any, column: str, where: str) -> str:
    """Return the column of text: the one that is told, or by its usual name or its type.

    Args:
        rows: of `datasets`.
        column: name; one other than that of `TEXT` is told.
        where: name of the rows, for errors.

    Raises:
        UserError: for a column that is missing or holds no text, with the columns of the data.
    """
    name = match_columns(rows, [replace(TEXT, name=column)], where)["text"]
    if column == TEXT.name or name.lower() == column.lower():
        return name
    names = rows.column_names
    kind = " of text" if column in names else ""
    raise UserError(
        f"{where} has no column {column!r}{kind}; its columns: {', '.join(names)}; type for "
        f"example task.column={name}"
    )


def missing_texts(splits: Mapping[str, Any], columns: Mapping[str, str]) -> list[str]:
    """Return a sentence for each role with rows without a text.

    Args:
        splits: rows of `datasets` of each role.
        columns: name of the column of text of each role.
    """
    counts = {
        role: rows.select_columns([columns[role]]).with_format("arrow")[:].column(0).null_count
        for role, rows in splits.items()
    }
    return [
        f"{count:,} rows of {role} have no text and are read as empty"
        for role, count in counts.items()
        if count
    ]
