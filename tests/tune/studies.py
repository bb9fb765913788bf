"""Short studies."""

from __future__ import annotations

from pathlib import Path

from moesuite.records.study import StudyRecord
from moesuite.tune.arguments import parse_command
from moesuite.tune.worker import search

SHORT = ["task=digits", "trainer.max_steps=3", "data.batch_size=256", "winner=0"]


def tuned(folder: Path, *words: str) -> StudyRecord:
    return search(parse_command([*SHORT, f"records={folder}", *words]))
