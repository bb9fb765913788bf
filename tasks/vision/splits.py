"""Splits of labelled images: memory-mapped arrays, images decoded on access, or streams."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from moesuite.task import Key, cached
from moesuite.tasks.vision.images import (
    Transform,
    Unreadable,
    cell_name,
    decode,
    pixels_of,
    seeded,
)


class Rows(Dataset[Any]):
    """Images decoded and transformed one at a time; an unreadable one becomes `Unreadable`."""

    def __init__(
        self, rows: Any, labels: np.ndarray, image: str, channels: int, transform: Transform
    ) -> None:
        self.rows = rows
        self.labels = labels
        self.image = image
        self.channels = channels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: Key) -> tuple[Tensor, int] | Unreadable:
        index, seed = key if isinstance(key, tuple) else (key, 0)
        cell = self.rows[index][self.image]
        try:
            picture = decode(cell, self.channels)
        except OSError:
            return Unreadable(cell_name(cell, index))
        with seeded(seed):
            return self.transform(picture), int(self.labels[index])


class Stream(IterableDataset[Any]):
    """Images of a streamed split, sharded over ranks and loader processes.

    In training they are shuffled in a buffer.
    """

    def __init__(
        self, rows: Any, columns: dict[str, str], channels: int, transform: Transform, shuffle: bool
    ) -> None:
        self.rows = rows
        self.columns = columns
        self.channels = channels
        self.transform = transform
        self.shuffle = shuffle
        self.epoch = 0
        self.seed = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which with the seed determines the order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, int] | Unreadable]:
        rows = self.rows
        if self.shuffle:
            rows = rows.shuffle(seed=self.seed, buffer_size=1024)
            rows.set_epoch(self.epoch)
        for index, row in enumerate(rows):
            cell = row[self.columns["image"]]
            try:
                picture = decode(cell, self.channels)
            except OSError:
                yield Unreadable(cell_name(cell, index))
                continue
            with seeded(hash((self.seed, self.epoch, index)) & 0x7FFFFFFF):
                yield self.transform(picture), int(row[self.columns["label"]])


class Arrays(Dataset[Any]):
    """Images as one array [N, height, width, channels] of bytes, in memory or memory-mapped.

    Without a transform whole batches are read at once, and normalised on the device.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Transform | None) -> None:
        self.images = images
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, keys: Sequence[Key]) -> list[Any]:
        pairs = [key if isinstance(key, tuple) else (key, 0) for key in keys]
        index = np.array([i for i, _ in pairs])
        labels = torch.from_numpy(self.labels[index])
        if self.transform is None:
            return [(torch.from_numpy(self.images[index]), labels)]
        pictures = []
        for i, seed in pairs:
            with seeded(seed):
                pictures.append(self.transform(Image.fromarray(self.images[i].squeeze())))
        return [(torch.stack(pictures), labels)]

    def __getitem__(self, key: Key) -> Any:
        return self.__getitems__([key])[0]


def decode_all(
    rows: Any, image: str, size: int, channels: int, folder: Path, key: str
) -> tuple[np.ndarray, list[int]]:
    """Decode a whole split into a memory-mapped array, once; later calls map the same file.

    Returns:
        The array [N, size, size, channels] of bytes, and the rows that could not be read (all zero
        there).
    """
    name = hashlib.sha256(f"{key} {image} {size} {channels} {len(rows)}".encode()).hexdigest()[:20]
    files = cached(folder / name, partial(_decode, rows, image, size, channels))
    return np.load(files / "pixels.npy", mmap_mode="r"), np.load(files / "unreadable.npy").tolist()


def _decode(rows: Any, image: str, size: int, channels: int, folder: Path) -> None:
    from rich.progress import track

    shape = (len(rows), size, size, channels)
    out = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
    bad = []
    for index in track(
        range(len(rows)), description=f"decoding {len(rows)} images once", transient=True
    ):
        try:
            picture = decode(rows[index][image], channels)
        except OSError:
            bad.append(index)
            continue
        out[index] = pixels_of(picture, size)
    out.flush()
    np.save(folder / "unreadable.npy", np.array(bad, dtype=np.int64))
