"""Splits of labelled images: memory-mapped arrays, images decoded on access, or streams."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from moesuite.task import Key, UserError, as_path, cached, track
from moesuite.tasks.vision.decoding import (
    IMAGES,
    VERSION,
    Decoding,
    RangeUnknown,
    decode,
    opened,
    pixels,
    traits_of,
)
from moesuite.tasks.vision.images import (
    HashIds,
    Transform,
    Unreadable,
    cell_name,
    hashed,
    pixels_of,
    seeded,
    unreadable,
)

MAPS = (
    "labels of a stream are taken as they are: where they begin at 1 or have gaps, type "
    "task.streaming=false, which maps them"
)
Sample = tuple[Tensor, int, int]  # image, label, index for `ids` of the split


@dataclass(frozen=True)
class Ids:
    """Ids of the images of a split, the same however it is read: file below `root`, or row.

    Attributes:
        numbers: row in the split of each image that can be read.
        cells: undecoded images of all rows, where they are files.
        root: folder of the source.
    """

    numbers: np.ndarray
    cells: Sequence[dict[str, Any]] | None = None
    root: str = ""

    @classmethod
    def of(cls, rows: Any, numbers: np.ndarray, root: str | None) -> Ids:
        """Return the ids of the undecoded images of rows."""
        if root is None or not of_files(rows):
            return cls(numbers)
        return cls(numbers, rows["image"], str(as_path(root)))

    def __getitem__(self, index: int) -> str:
        number = int(self.numbers[index])
        cell = self.cells[number] if self.cells is not None else None
        if cell is None or cell["path"] is None:
            return str(number)
        return os.path.relpath(cell["path"], self.root)


def of_files(rows: Any) -> bool:
    """Whether the images of rows are files, rather than stored in a table."""
    return len(rows) > 0 and rows[0]["image"] is not None and rows[0]["image"]["bytes"] is None


class Rows(Dataset[Any]):
    """Images decoded and transformed one at a time; an unreadable one becomes `Unreadable`."""

    def __init__(
        self,
        rows: Any,
        labels: np.ndarray,
        decoding: Decoding,
        transform: Transform,
        ids: Ids,
        where: str,
    ) -> None:
        self.rows = rows
        self.labels = labels
        self.decoding = decoding
        self.transform = transform
        self.ids = ids
        self.where = where  # names the split in messages

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: Key) -> Sample | Unreadable:
        index, seed = key if isinstance(key, tuple) else (key, 0)
        cell = self.rows[index]["image"]
        try:
            picture = decode(cell, self.decoding)
        except OSError as error:
            return unreadable(cell, int(self.ids.numbers[index]), self.where, error)
        with seeded(seed):
            return self.transform(picture), int(self.labels[index]), index


class Stream(IterableDataset[Any]):
    """Images of a streamed split, sharded over ranks and loader processes.

    In training they are shuffled in a buffer.
    """

    ids = HashIds()

    def __init__(
        self,
        rows: Any,
        order: np.ndarray,
        decoding: Decoding,
        transform: Transform,
        shuffle: bool,
        where: str,
    ) -> None:
        self.rows = rows
        self.order = order  # label in the stream -> index of the class
        self.decoding = decoding
        self.transform = transform
        self.shuffle = shuffle
        self.where = where  # names the split in messages
        self.epoch = 0
        self.seed = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which with the seed determines the order."""
        self.epoch = epoch

    def class_of(self, label: int | None) -> int | None:
        """Return the index of the class of a label in the stream, or None if it is of none."""
        known = label is not None and 0 <= label < len(self.order)
        return int(self.order[label]) if known else None

    def __iter__(self) -> Iterator[Sample | Unreadable]:
        rows = self.rows
        if self.shuffle:
            rows = rows.shuffle(seed=self.seed, buffer_size=1024)
            rows.set_epoch(self.epoch)
        for index, row in enumerate(rows):
            cell = row["image"]
            try:
                picture = decode(cell, self.decoding)
            except OSError as error:
                yield unreadable(cell, index, self.where, error)
                continue
            label = self.class_of(row["label"])
            if label is None:
                name, top = cell_name(cell, index, self.where), len(self.order) - 1
                yield Unreadable(name, f"{name}: label {row['label']}; expected 0 to {top}; {MAPS}")
                continue
            with seeded(hash((self.seed, self.epoch, index)) & 0x7FFFFFFF):
                yield self.transform(picture), label, hashed(cell)


class Arrays(Dataset[Any]):
    """Images as one array [N, height, width, channels] of bytes, in memory or memory-mapped.

    Without a transform whole batches are read at once, and normalised on the device.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, transform: Transform | None, ids: Ids
    ) -> None:
        self.images = images
        self.labels = labels
        self.transform = transform
        self.ids = ids

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, keys: Sequence[Key]) -> list[Any]:
        pairs = [key if isinstance(key, tuple) else (key, 0) for key in keys]
        index = np.array([i for i, _ in pairs])
        labels = torch.from_numpy(self.labels[index])
        if self.transform is None:
            return [(torch.from_numpy(self.images[index]), labels, torch.from_numpy(index))]
        pictures = []
        for i, seed in pairs:
            with seeded(seed):
                pictures.append(self.transform(Image.fromarray(self.images[i].squeeze())))
        return [(torch.stack(pictures), labels, torch.from_numpy(index))]

    def __getitem__(self, key: Key) -> Any:
        return self.__getitems__([key])[0]


def decode_all(
    rows: Any, size: int, decoding: Decoding, folder: Path, key: str, where: str
) -> tuple[np.ndarray, list[int], Counter[str]]:
    """Decode a whole split into a memory-mapped array, once; later calls map the same file.

    `key` tells the content of the split, `where` its name for readers.

    Returns:
        The array [N, size, size, channels] of bytes, the rows that could not be read (all zero
        there), and counts of images and of their traits; see `Decoding.notes`.

    Raises:
        UserError: for pixels whose range is unknown.
    """
    words = f"{key} {size} {decoding} {VERSION} {len(rows)}"
    name = hashlib.sha256(words.encode()).hexdigest()[:20]
    files = cached(folder / name, partial(_decode, rows, size, decoding, where))
    traits = Counter[str](json.loads((files / "traits.json").read_text(encoding="utf-8")))
    array = np.load(files / "pixels.npy", mmap_mode="r")
    return array, np.load(files / "unreadable.npy").tolist(), traits


def _decode(rows: Any, size: int, decoding: Decoding, where: str, folder: Path) -> None:
    shape = (len(rows), size, size, decoding.channels)
    out = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
    bad, traits = list[int](), Counter[str]()
    for index in track(range(len(rows)), "decoding, once", len(rows), "images"):
        cell = rows[index]["image"]
        try:
            with opened(cell) as picture:
                seen = traits_of(picture)
                out[index] = pixels_of(pixels(picture, decoding), size)
        except RangeUnknown as error:
            raise UserError(f"{cell_name(cell, index, where)}: {error}") from None
        except OSError:
            bad.append(index)
            continue
        traits.update([IMAGES, *seen])
    out.flush()
    np.save(folder / "unreadable.npy", np.array(bad, dtype=np.int64))
    (folder / "traits.json").write_text(json.dumps(traits), encoding="utf-8")
