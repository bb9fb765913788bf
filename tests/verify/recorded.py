"""Recorded runs to verify, and copies that were changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from moesuite.records.store import read_record, record_path, write_record
from moesuite.verify.__main__ import main
from tests.helpers import SHORT

WORDS = (*SHORT, "router=soft", "num_experts=2")


def copied(runs: Path, folder: Path, **changes: Any) -> list[Path]:
    """Copy the records, the first one with changes; return their paths, by seed."""
    records = sorted(
        (read_record(path) for path in runs.glob("*/*/*.json")), key=lambda record: record.seed
    )
    records[0] = records[0].model_copy(update=changes)
    paths = [record_path(folder, record.task, record.router, record.id) for record in records]
    for path, record in zip(paths, records, strict=True):
        write_record(path, record)
    return paths


def verified(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["verify", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)
