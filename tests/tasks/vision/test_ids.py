"""Ids of images are the same however they are read, and whatever else is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moesuite.config.sections import Data
from moesuite.task import Task
from moesuite.train.dataloaders import eval_loader
from tests.tasks.vision.pictures import picture, vision


def ids_of(task: Task) -> list[str]:
    ids: list[str] = []
    for batch in eval_loader(task, Data(eval_batch_size=4, workers=0), "test"):
        columns = task.predictions(torch.zeros(task.size(batch), 3), batch)
        assert columns is not None
        ids += columns["id"]
    return ids


@pytest.fixture
def split_tree(tmp_path: Path) -> Path:
    """Return a tree of three classes with one training and two test images each."""
    for split, count in (("train", 1), ("test", 2)):
        for label, name in enumerate("abc"):
            folder = tmp_path / "tree" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture(10 * label + number).save(folder / f"{number}.png")
    return tmp_path / "tree"


@pytest.mark.parametrize("cache", [False, True])
def test_an_image_file_has_its_path_below_the_source(split_tree: Path, cache: bool) -> None:
    names = [f"test/{name}/{number}.png" for name in "abc" for number in range(2)]
    assert ids_of(vision(source=split_tree, cache=cache)) == names
    (split_tree / "test" / "a" / "1.png").write_bytes(b"no image")
    names.remove("test/a/1.png")
    assert ids_of(vision(source=split_tree, cache=cache, strict=False)) == names


@pytest.mark.parametrize("cache", [False, True])
def test_an_image_of_a_table_has_its_row(parquet: Path, cache: bool) -> None:
    assert ids_of(vision(source=parquet, cache=cache)) == list("012345")


def test_an_image_of_a_stream_has_its_hash(parquet: Path) -> None:
    ids = ids_of(vision(source=parquet, streaming=True))
    assert len(set(ids)) == 6 and all(len(name) == 16 for name in ids)
    assert ids == ids_of(vision(source=parquet, streaming=True))
