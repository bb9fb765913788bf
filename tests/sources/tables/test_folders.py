"""Folders of tables as people have them: which files are which split, and save_to_disk."""

from __future__ import annotations

import gzip
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
GZ = gzip.compress(CSV.encode())
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
        lambda folder: (folder / "state.json").write_text("{", encoding="utf-8"),
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
    "a test split of another format": (
        {"train.jsonl": LINES, "test.csv": CSV},
        {"train": 2, "test": 2},
        "csv, jsonl files of own",
    ),
    "a test split that lies deeper": (
        {"train.jsonl": LINES, "data/test.jsonl": LINES},
        {"train": 2, "test": 2},
        "jsonl files of own",
    ),
    "folders of splits of other depths": (
        {"train/a.csv": CSV, "test/sub/c.csv": CSV},
        {"train": 2, "test": 2},
        "csv files of own",
    ),
    "a table beside the folder of the data": (
        {"labels.json": LINES, "data/train.csv": CSV, "data/test.csv": CSV},
        {"train": 2, "test": 2},
        "csv files of own; not used: labels.json",
    ),
    "the same compressed and not": (
        {"train.csv": CSV, "train.csv.gz": GZ, "test.csv.gz": GZ},
        {"train": 2, "test": 2},
        "not used: train.csv.gz",
    ),
    "the same contents twice": (
        {"train/a.csv": CSV, "train/b.csv": CSV, "train/c.csv": CSV, "test.csv": CSV},
        {"train": 6, "test": 2},
        "2 of 3 files of train repeat others: read twice",
    ),
}
SEVERAL = "splits at several depths: .* expected each split once"
NO_TEST: dict[str, tuple[dict[str, str | bytes], str]] = {
    "a whole set deeper": (
        {"train.csv": CSV, "data/train.csv": CSV, "data/test.csv": CSV},
        SEVERAL,
    ),
    "several test splits deeper": (
        {"train.csv": CSV, "books/test.csv": CSV, "news/test.csv": CSV},
        SEVERAL,
    ),
    "several sets deeper": (
        {"labels.json": LINES, "a/train.csv": CSV, "b/train.csv": CSV},
        "2 data sets in one folder: a, b; expected one; type for example task.source=.*own/a$",
    ),
    "a test split that cannot be read": (
        {"train.csv": CSV, "test.xlsx": "x", "test.py": "x"},
        "not read, and a part of train would be scored: test.xlsx; expected .*, as test.csv; to do",
    ),
    "a test split that cannot be read, beside validation": (
        {"train.csv": CSV, "dev.csv": CSV, "test/a.txt": "x"},
        "a test split that is not read, and dev would be scored: test/a.txt; expected it beside",
    ),
}


@pytest.mark.parametrize("case", NO_TEST)
def test_nothing_else_is_scored_where_a_test_split_lies(case: str, tmp_path: Path) -> None:
    files, says = NO_TEST[case]
    with pytest.raises(UserError, match=says):
        load(write(tmp_path / "own", files))


@pytest.mark.parametrize("case", FOLDERS)
def test_folders(case: str, tmp_path: Path) -> None:
    files, counts, says = FOLDERS[case]
    found, about, notes = load(write(tmp_path / "own", files))
    assert found == counts and says in "; ".join([about, *notes])
