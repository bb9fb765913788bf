"""Pairs of a chosen and a rejected text, as in Anthropic HH-RLHF and UltraFeedback."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from moesuite.task import HubSource, Source, UserError, load_rows

JSONL = ("*.jsonl", "*.jsonl.gz")
SIDES = ("chosen", "rejected")
Pair = tuple[str, str]


@dataclass(frozen=True)
class Dialogues(HubSource):
    """Pairs of texts of which one was preferred.

    Attributes:
        splits: name of the split of each role: train, test.
        columns: names of the columns of the chosen and the rejected text.
    """

    splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    columns: dict[str, str] = field(
        default_factory=lambda: {"chosen": "chosen", "rejected": "rejected"}
    )


def read_pairs(data: Dialogues) -> tuple[dict[str, list[Pair]], Source]:
    """Return (chosen, rejected) of each role, without pairs of equal texts, and the source.

    Raises:
        UserError: for a source that is missing or lacks a column, for what is no text, or if
            nothing is left.
    """
    loaded = None
    if data.source is not None:
        loaded = _json_lines(Path(data.source).expanduser(), data.splits)
    loaded = loaded or data.load(data.splits)
    columns = data.columns
    roles = {}
    for role, rows in loaded.splits.items():
        for name in columns.values():
            if name not in rows.column_names:
                raise UserError(
                    f"{loaded.description}, split {role} has no column {name!r}; its columns: "
                    f"{', '.join(rows.column_names)}; "
                    f"type for example task.columns.chosen={rows.column_names[0]}"
                )
        where = f"{loaded.description}, split {role}"
        texts = [list(_texts(rows, columns[side], where)) for side in SIDES]
        roles[role] = [pair for pair in zip(*texts, strict=True) if pair[0] != pair[1]]
        if not roles[role]:
            raise UserError(f"{where} is empty; expected at least one pair of two texts")
    return roles, loaded


def _json_lines(path: Path, splits: Mapping[str, str]) -> Source | None:
    """Return the JSON lines of a folder, a file for each split, or None."""
    files = list(chain.from_iterable(sorted(path.glob(pattern)) for pattern in JSONL))
    if path.is_file() and path.name.endswith((".jsonl", ".jsonl.gz")):
        raise UserError(
            f"task.source={path} is one file; expected a folder with "
            f"{' and '.join(splits.values())}.jsonl"
        )
    if not files:
        return None
    import datasets

    digest, roles = hashlib.sha256(), {}
    for role, split in splits.items():
        file = next((file for file in files if file.name.split(".")[0] == split), None)
        if file is None:
            raise UserError(
                f"task.source={path} has no {split}.jsonl; expected a file for each of "
                f"{', '.join(splits.values())}"
            )
        digest.update(file.read_bytes())
        try:
            roles[role] = load_rows("json", data_files=str(file), split="train")
        except datasets.exceptions.DatasetGenerationError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(f"{file}: {reason}; expected one JSON object in each line") from None
    return Source(roles, f"sha256:{digest.hexdigest()}", f"JSON lines of {path.name}")


def _texts(rows: Any, column: str, where: str) -> Iterator[str]:
    """Yield texts; of a dialogue its messages with their roles."""
    for number, cell in enumerate(rows[column]):
        if isinstance(cell, str):
            yield cell
            continue
        try:
            messages = [f"{message['role']}: {message['content']}" for message in cell]
        except (TypeError, KeyError):
            raise UserError(
                f"{where}, row {number}: {column} {cell!r}; expected a text, or a list of messages "
                "with role and content"
            ) from None
        yield "\n\n".join(messages)
