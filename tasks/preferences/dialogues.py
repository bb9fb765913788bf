"""Pairs of texts of which one was preferred: `chosen` and `rejected`, as in Anthropic HH and UltraFeedback."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from moesuite.task import Source, UserError, load_rows, load_source

JSONL = ("*.jsonl", "*.jsonl.gz")
SIDES = ("chosen", "rejected")
Pair = tuple[str, str]


def read_pairs(
    source: str | None,
    hub: str | None,
    revision: str | None,
    splits: Mapping[str, str],
    columns: Mapping[str, str],
) -> tuple[dict[str, list[Pair]], Source]:
    """Return (chosen, rejected) of each role, without those that are the same, and the source.

    Raises:
        UserError: for a source that is missing or lacks a column, for what is no text, or if
            nothing is left.
    """
    loaded = _json_lines(Path(source).expanduser(), splits) if source is not None else None
    loaded = loaded or load_source(source, hub, revision, None, splits)
    roles = {}
    for role, rows in loaded.splits.items():
        for name in columns.values():
            if name not in rows.column_names:
                raise UserError(
                    f"{loaded.description}, split {role} has no column {name!r}; its columns: "
                    f"{', '.join(rows.column_names)}; type for example task.columns.chosen={rows.column_names[0]}"
                )
        texts = (
            list(_texts(rows, columns[key], f"{loaded.description}, split {role}")) for key in SIDES
        )
        roles[role] = [pair for pair in zip(*texts, strict=True) if pair[0] != pair[1]]
        if not roles[role]:
            raise UserError(
                f"{loaded.description}, split {role} is empty; allowed: at least one pair of two texts"
            )
    return roles, loaded


def _json_lines(path: Path, splits: Mapping[str, str]) -> Source | None:
    """Read a folder of JSON lines, a file for each split; None where there are none."""
    files = (
        [file for pattern in JSONL for file in sorted(path.glob(pattern))] if path.is_dir() else []
    )
    if path.is_file() and path.name.endswith((".jsonl", ".jsonl.gz")):
        raise UserError(
            f"task.source={path} is one file; allowed: a folder with {' and '.join(splits.values())}.jsonl"
        )
    if not files:
        return None
    import datasets

    digest, found = hashlib.sha256(), {}
    for role, split in splits.items():
        own = [file for file in files if file.name.split(".")[0] == split]
        if not own:
            raise UserError(
                f"task.source={path} has no {split}.jsonl; allowed: a file for each of {', '.join(splits.values())}"
            )
        digest.update(own[0].read_bytes())
        try:
            found[role] = load_rows("json", data_files=str(own[0]), split="train")
        except datasets.exceptions.DatasetGenerationError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(f"{own[0]}: {reason}; allowed: one JSON object in each line") from None
    return Source(found, f"sha256:{digest.hexdigest()}", f"JSON lines of {path.name}")


def _texts(rows: Any, column: str, where: str) -> Iterator[str]:
    """Yield texts; of dialogues the messages, with who says them."""
    for number, one in enumerate(rows[column]):
        try:
            yield (
                one
                if isinstance(one, str)
                else "\n\n".join(f"{said['role']}: {said['content']}" for said in one)
            )
        except (TypeError, KeyError):
            raise UserError(
                f"{where}, row {number}: {column} {one!r}; allowed: a text, or a list of messages with role and content"
            ) from None
