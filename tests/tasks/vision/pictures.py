"""Small made-up images in a tree and in the hub's schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from moesuite.task import Task, task_class

CLASSES = ("cat", "dog", "owl")


def picture(seed: int, size: int = 12) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def vision(**options: Any) -> Task:
    values = {"num_classes": 3, "image_size": 8, **options}
    values = {
        key: str(value) if isinstance(value, Path) else value for key, value in values.items()
    }
    task = task_class("vision").from_options(**values)
    task.prepare()
    return task


def rows_of(task: Task, split: Any) -> list[Any]:
    dataset = task.dataset(split)
    assert dataset is not None
    return [dataset[index] for index in range(len(dataset))]  # type: ignore[arg-type]


def write_split(path: Path, images: Sequence[Any], labels: Any, names: list[str] | None) -> None:
    """Write a split in the schema of the hub, with the names of the classes or without."""
    rows = Dataset.from_dict({"image": images}, features=Features(image=ImageFeature()))
    rows = rows.add_column("label", labels)
    if names is not None:
        rows = rows.cast_column("label", ClassLabel(names=names))
    rows.to_parquet(path)
