"""Small sources with faults that the command has to tell."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Show = Callable[..., Any]  # runs the command: its JSON, or (exit code, stdout, stderr)


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


def png(colour: str) -> bytes:
    """Return a PNG of 4 x 4 pixels of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(stream, "png")
    return stream.getvalue()


COUNTING = '''
import torch
from torch.utils.data import TensorDataset
from torchmetrics import MetricCollection
from moesuite.task import MetricSpec, Task


class Numbers(TensorDataset):
    def __getitem__(self, key):
        return super().__getitem__(key[0] if isinstance(key, tuple) else key)[0]


class Counting(Task):
    """Say a number."""

    primary = MetricSpec(name="accuracy", direction="max", least=0, most=1)
    in_memory = True

    def __init__(self, name: str = "counting"):
        self.name, self.unreadable = name, []

    def prepare(self):
        self.fingerprint, self.description = "numbers", "the numbers from 0"

    def dataset(self, split):
        sizes = {"train": 8, "test": 4}
        return Numbers(torch.arange(sizes[split])) if split in sizes else None

    def backbone_arguments(self):
        return {"num_classes": 8}

    def blank(self):
        return torch.empty(1, device="meta")

    def collate(self, samples):
        return {"number": torch.stack(samples)}

    def inputs(self, batch):
        return batch["number"]

    def loss(self, output, batch):
        return output.sum()

    def metrics(self):
        return MetricCollection({})

    def update(self, metrics, output, batch):
        pass

    def size(self, batch):
        return len(batch["number"])
'''
