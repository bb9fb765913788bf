"""Small sources with faults that the command has to tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def image_tree(folder: Path, counts: dict[str, dict[str, int]], size: int = 16) -> Path:
    """Write <split>/<class>/<number>.png of noise, another one for each."""
    random = np.random.default_rng(0)
    for split, classes in counts.items():
        for name, count in classes.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                values = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(values).save(folder / split / name / f"{number}.png")
    return folder


def jpeg(path: Path) -> Path:
    """Write a JPEG of noise, 16 x 16."""
    values = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(values).save(path, quality=95)
    return path


def cut(path: Path) -> None:
    """Cut off the second half of the pixels of a JPEG: its header stays readable."""
    content = path.read_bytes()
    pixels = content.index(b"\xff\xda")  # start of scan
    path.write_bytes(content[: (pixels + len(content)) // 2])
