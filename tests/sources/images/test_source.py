"""Image trees and idx files as sources of a task."""

from __future__ import annotations

import struct
from pathlib import Path

import datasets
import pytest
from PIL import Image

from moesuite import UserError
from moesuite.sources.local import Readable, Source
from moesuite.sources.source import HubSource
from tests.sources.images.made import BOTH, make


def load(folder: Path) -> Source:
    return HubSource(source=str(folder)).load(BOTH, readable=Readable(images=True))


def test_without_a_test_split_the_validation_split_is_scored(tmp_path: Path) -> None:
    source = load(make(tmp_path, "train/a:4 train/b:4 valid/a:1 valid/b:2 x.csv"))
    assert {role: len(rows) for role, rows in source.splits.items()} == {"train": 8, "test": 3}
    assert source.notes == (
        "no test split: the validation split (valid) is scored",
        "tables beside the images are not used: x.csv",
    )


def test_without_both_a_tenth_is_held_out(tmp_path: Path) -> None:
    source = load(make(tmp_path, "a:10 b:10"))
    assert {role: len(rows) for role, rows in source.splits.items()} == {"train": 18, "test": 2}
    assert source.description.endswith("a tenth of the training split held out")


def test_the_fingerprint_is_of_contents_and_classes(tmp_path: Path) -> None:
    make(tmp_path, "a:2 b:2")
    values = [load(tmp_path).fingerprint]
    Image.new("L", (4, 4), 9).save(tmp_path / "a" / "0.png")
    values.append(load(tmp_path).fingerprint)
    Image.new("L", (4, 4), 8).save(tmp_path / "a" / "0.png")  # of the same size
    values.append(load(tmp_path).fingerprint)
    (tmp_path / "b").rename(tmp_path / "c")
    values.append(load(tmp_path).fingerprint)
    assert len({*values}) == 4
    assert all(value.startswith("sha256:") for value in values)


def test_parquet_comes_before_pictures_beside_it(tmp_path: Path) -> None:
    make(tmp_path, "figures:2 logos:2")
    datasets.Dataset.from_dict({"x": [1, 2]}).to_parquet(tmp_path / "train.parquet")
    assert load(tmp_path).splits["train"].column_names == ["x"]


def test_tables_come_before_a_logo(tmp_path: Path) -> None:
    make(tmp_path, "logo.png")
    (tmp_path / "train.csv").write_text("text,label\na,0\nb,1\n", encoding="utf-8")
    assert load(tmp_path).splits["train"].column_names == ["text", "label"]


def test_idx_files(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("t10k", 2)):
        images = struct.pack(">HBB3I", 0, 8, 3, count, 2, 2) + bytes(range(4 * count))
        labels = struct.pack(">HBBI", 0, 8, 1, count) + bytes([0, 1] * (count // 2))
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(labels)
    source = load(tmp_path)
    assert {role: rows["label"][:] for role, rows in source.splits.items()} == {
        "train": [0, 1, 0, 1],
        "test": [0, 1],
    }
    assert source.description == f"idx files of {tmp_path.name}"


def test_a_link_to_nothing(tmp_path: Path) -> None:
    make(tmp_path, "a:2 b:2")
    (tmp_path / "a" / "9.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match=r"a/9.png cannot be read: No such file or directory;"):
        load(tmp_path)


def test_splits_that_are_joined_are_named(tmp_path: Path) -> None:
    source = load(make(tmp_path, "Train/a:2 train/b:2 test/a:1 val/a:1 valid/b:1"))
    assert source.notes == ("train is Train, train together", "val is val, valid together")


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    make(tmp_path, "train/a:2 train/b:2 test/a:1")
    with pytest.raises(UserError, match=r"no split 'nope'; the splits are test, train; type for"):
        HubSource(source=str(tmp_path)).load(
            {"train": "train", "test": "nope"}, readable=Readable(images=True)
        )
