"""Labelled images as data sets: decoded once into memory-mapped arrays, or image by image by loader processes."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from moesuite.task import Key, UserError, cached

SHOWN = 160  # pixels of a picture for readers
Transform = Callable[[Image.Image], Tensor]


@dataclass(frozen=True)
class Unreadable:
    """Stands for an image that could not be read, on its way from a loader process to the main one."""

    name: str


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's global generators within this, and restore them after."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


def decode(cell: dict[str, Any], channels: int) -> Image.Image:
    """Decode an image cell of a data set, {bytes, path}, to grey or RGB. Raises OSError if that is not possible."""
    stream = io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else cell["path"]
    try:
        with Image.open(stream) as image:
            return image.convert("L" if channels == 1 else "RGB")
    except (
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # what PIL raises for some broken files
        raise OSError(str(error)) from None


def refuse_unreadable(names: Sequence[str]) -> None:
    """Raise `UserError` for images that cannot be read, if there are any."""
    if names:
        raise UserError(
            f"{len(names)} unreadable image{'s' * (len(names) > 1)}: {', '.join(names[:3])}; allowed: images that "
            "Pillow can decode; repair or remove them, or type task.strict=false to leave them out and count them"
        )


def as_uri(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> str:
    """Return a normalised image [channels, height, width] as a data URI, of at most `SHOWN` pixels a side."""
    shape = (-1, 1, 1)
    pixels = image.float().cpu() * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)
    picture = Image.fromarray(
        (255 * pixels).round().clamp(0, 255).byte().permute(1, 2, 0).numpy().squeeze()
    )
    kind, stream = "png" if max(picture.size) <= SHOWN // 4 else "jpeg", io.BytesIO()
    picture.thumbnail((SHOWN, SHOWN))
    picture.save(stream, kind)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def pixels_of(picture: Image.Image, size: int) -> np.ndarray:
    """Return the bytes of a picture [size, size, channels]; one of another size is resized."""
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture).reshape(size, size, -1)


def cell_name(cell: dict[str, Any], index: int) -> str:
    """Return what to call an image in messages: its path, or its row."""
    return cell["path"] or f"row {index}"


def unreadable_files(cells: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Return the rows of image files whose header is not an image's, with their names.

    Headers cost some 0.1 ms each; a file that is cut off further down is found when it is decoded.
    """
    bad = {}
    for index, cell in enumerate(cells):
        if cell["bytes"] is None:
            try:
                with Image.open(cell["path"]):
                    pass
            except (OSError, SyntaxError, ValueError):
                bad[index] = cell["path"]
    return bad


class Rows(Dataset[Any]):
    """Images decoded and transformed one at a time; a broken one becomes `Unreadable`."""

    def __init__(
        self, rows: Any, labels: np.ndarray, image: str, channels: int, transform: Transform
    ) -> None:
        self.rows, self.labels, self.image, self.channels, self.transform = (
            rows,
            labels,
            image,
            channels,
            transform,
        )

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
    """Images of a streamed split, shuffled in a buffer in training, shared out among ranks and loader processes."""

    def __init__(
        self, rows: Any, columns: dict[str, str], channels: int, transform: Transform, shuffle: bool
    ) -> None:
        self.rows, self.columns, self.channels, self.transform = rows, columns, channels, transform
        self.shuffle, self.epoch, self.seed = shuffle, 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
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

    Without a transform whole batches are read at once; normalisation is then done on the device.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Transform | None) -> None:
        self.images, self.labels, self.transform = images, labels, transform

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
    made = cached(folder / name, partial(_decode, rows, image, size, channels))
    return np.load(made / "pixels.npy", mmap_mode="r"), np.load(made / "unreadable.npy").tolist()


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


def check_columns(columns: Sequence[str], wanted: Mapping[str, str], where: str) -> None:
    """Raise `UserError` if a column is missing, with those that there are."""
    if missing := [column for column in wanted.values() if column not in columns]:
        raise UserError(
            f"{where} has no column {missing[0]!r}; its columns: {', '.join(columns)}; "
            f"type for example task.columns.image={columns[0] if columns else 'image'}"
        )


def check_labels(labels: np.ndarray, names: list[str] | None, num_classes: int, where: str) -> None:
    """Compare the classes of the data with those of the task.

    Raises:
        UserError: if they differ.
    """
    if len(labels) == 0:
        raise UserError(f"{where} is empty: no rows; allowed: at least one example per split")
    found = len(names) if names is not None else int(labels.max()) + 1
    if found != num_classes or labels.min() < 0:
        raise UserError(
            f"{where} has {found} classes, the task {num_classes}; allowed: equal counts; "
            f"type for example task.num_classes={found}"
        )
