"""Folders of tables as people have them: which files are which split, and save_to_disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from moesuite.errors import UserError
from moesuite.sources.source import HubSource
from tests.sources.files import TRAIN_TEST, write

CSV = "text,label\nto be,0\nor not,1\n"
OBJECTS = [{"text": "to be", "label": 0}, {"text": "or not", "label": 1}]
LINES = "".join(json.dumps(row) + "\n" for row in OBJECTS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path / "cache"))


def load(folder: Path) -> tuple[dict[str, int], str, tuple[str, ...]]:
    """Return the rows of each role, the description and the notes."""
    source = HubSource(source=str(folder)).load(TRAIN_TEST)
    counts = {role: len(rows) for role, rows in source.splits.items()}
    return counts, source.description.replace(folder.name, "own"), source.notes


def rows(count: int) -> Dataset:
    return Dataset.from_dict({"text": [f"text {n}" for n in range(count)]})


def test_save_to_disk(tmp_path: Path) -> None:
    DatasetDict(train=rows(5), test=rows(2), extra=rows(1)).save_to_disk(str(tmp_path / "dict"))
    about = "data set saved in own"
    assert load(tmp_path / "dict") == ({"train": 5, "test": 2}, about, ("not used: extra",))
    rows(20).save_to_disk(str(tmp_path / "one"))
    about = f"{about}, a tenth of the training split held out"
    assert load(tmp_path / "one") == ({"train": 18, "test": 2}, about, ())


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "data-00000-of-00001.arrow").unlink(),
        lambda folder: (folder / "data-00000-of-00001.arrow").write_bytes(b"ARROW1"),
        lambda folder: (folder / "state.json").write_text("{"),
        lambda folder: (folder / "dataset_info.json").unlink(),
    ],
)
def test_broken_save_to_disk(harm: Callable[[Path], Any], tmp_path: Path) -> None:
    DatasetDict(train=rows(5), test=rows(2)).save_to_disk(str(tmp_path / "own"))
    harm(tmp_path / "own" / "train")
    with pytest.raises(UserError, match="unreadable as save_to_disk wrote it: .*; save it again"):
        load(tmp_path / "own")


TEN = "text,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(10))
FOLDERS: dict[str, tuple[dict[str, str | bytes], dict[str, int], str]] = {
    "a lone file": ({"mine.csv": TEN}, {"train": 9, "test": 1}, "a tenth of the training split"),
    "splits in one JSON": (
        {"mine.json": json.dumps({"train": OBJECTS, "dev": OBJECTS[:1], "about": "mine"})},
        {"train": 2, "test": 1},
        "no test split: the validation split (dev) is scored",
    ),
    "the same in two formats": (
        {"train.csv": CSV, "test.csv": CSV, "train.jsonl": LINES, "test.jsonl": LINES},
        {"train": 2, "test": 2},
        "jsonl files of own; not used: test.csv, train.csv",
    ),
    "two splits together": (
        {"train_old.csv": CSV, "train_new.csv": CSV, "test.csv": CSV},
        {"train": 4, "test": 2},
        "train is train_new, train_old together",
    ),
    "no name says train": (
        {"part-1.csv": CSV, "test_of_time.csv": CSV, "test.csv": CSV, "README.md": "x"},
        {"train": 4, "test": 2},
        "train is part-1.csv, test_of_time.csv together",
    ),
    "dialects by split": (
        {"train.csv": CSV, "test.csv": CSV.replace(",", ";")},
        {"train": 2, "test": 2},
        "csv files of own",
    ),
    "one data set in a folder": (
        {"data/train-00000-of-00001.csv": CSV, "data/test-00000-of-00001.csv": CSV, "LICENSE": ""},
        {"train": 2, "test": 2},
        "csv files of own",
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folders(case: str, tmp_path: Path) -> None:
    files, counts, says = FOLDERS[case]
    found, about, notes = load(write(tmp_path / "own", files))
    assert found == counts and says in "; ".join([about, *notes])
