"""Words of short comparison runs, and files of pairs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moesuite.tasks.preferences.dialogues import Dialogues, read_pairs

Row = Mapping[str, Any]

SMALL = [
    "task=backgammon",
    "task.positions=60",
    "task.test_positions=12",
    "task.test_plies=0",
    "backbone.kwargs.hidden_size=16",
    "backbone.kwargs.intermediate_size=32",
]
QUICK = ["measure=false", "logger=none", "trainer.enable_progress_bar=false", "trainer.max_steps=3"]


def lines(path: Path, *rows: Row) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def pairs_of(folder: Path, *rows: Row, **options: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the pairs and the notes of rows that are both train and test."""
    for split in ("train", "test"):
        lines(folder / f"{split}.jsonl", *rows)
    roles, source = read_pairs(Dialogues(source=str(folder), **options))
    assert roles["train"] == roles["test"]
    return roles["test"], source.notes
