"""Small made-up images in a tree and in the hub's schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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
