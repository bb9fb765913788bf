"""Fixtures of image sources."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from tests.tasks.vision.pictures import CLASSES, picture


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return an ImageFolder tree of 3 classes with 10 images of different sizes each."""
    for label, name in enumerate(CLASSES):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for index in range(10):
            picture(label * 10 + index, size=12 + index).save(
                tmp_path / "tree" / name / f"{index}.png"
            )
    return tmp_path / "tree"


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Return a folder of parquet files in the schema of the hub."""
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    folder = tmp_path / "parquet"
    folder.mkdir()
    for split, count in (("train", 12), ("test", 6)):
        rows = {"image": [picture(i) for i in range(count)], "label": [i % 3 for i in range(count)]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}.parquet")
    return folder
