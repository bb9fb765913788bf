"""Labelled images as read from disk, and as rows of `datasets`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moesuite.sources.images.folders import Folder
from moesuite.sources.images.lists import Labels


@dataclass(frozen=True)
class Part:
    """A split as it lies on disk.

    Attributes:
        name: of its folder; empty: the whole source.
        classes: images of each class, in the order of torchvision's `ImageFolder`.
        loose: images without a class.
        folders: that it was read from.
        labels: from a list; None: from class folders.
    """

    name: str
    classes: Mapping[str, list[Path]]
    loose: Sequence[Path]
    folders: Sequence[Folder]
    labels: Labels | None = None

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(map(len, self.classes.values())) + len(self.loose)

    @property
    def by_list(self) -> bool:
        """Whether a list tells the classes."""
        return self.labels is not None and self.labels.what == "labels"


@dataclass(frozen=True)
class Split:
    """Images of one split.

    Attributes:
        name: of its folder or file, for the reader; empty: all that is there.
        labels: name of each image's class, [N].
        classes: names of the classes, in the order of their indices.
        files: of the images [N], or the idx files of pixels and labels.
        pixels: uint8 [N, height, width] of idx files; None: each file is an image.
    """

    name: str
    labels: list[str]
    classes: tuple[str, ...]
    files: list[Path]
    pixels: np.ndarray | None = None

    @property
    def contents(self) -> Iterable[tuple[str, Path]]:
        """Class and file of all that is read, in order, for the fingerprint."""
        if self.pixels is not None:
            return [("", file) for file in self.files]
        return zip(self.labels, self.files, strict=True)

    def rows(self) -> Any:
        """Return a `datasets.Dataset` with the columns image and label; images are undecoded."""
        import datasets
        import pyarrow as pa

        count, index = len(self.labels), {name: label for label, name in enumerate(self.classes)}
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=[*self.classes])}
        )
        if self.pixels is None:
            cells = [pa.nulls(count, pa.binary()), pa.array(map(str, self.files), pa.string())]
        else:
            cells = [pa.array(_as_pgm(self.pixels), pa.binary()), pa.nulls(count, pa.string())]
        images = pa.StructArray.from_arrays(cells, ["bytes", "path"])
        labels = pa.array([index[name] for name in self.labels], pa.int64())
        table = pa.table([images, labels], schema=features.arrow_schema)
        return datasets.Dataset(table, info=datasets.DatasetInfo(features=features))


@dataclass(frozen=True)
class ImageTree:
    """Images of a folder.

    Attributes:
        splits: by role: train, val, test.
        notes: sentences for the reader: what is not used, and what labels were read from.
        lists: files that labels were read from.
    """

    splits: Mapping[str, Split]
    notes: tuple[str, ...] = ()
    lists: tuple[Path, ...] = ()

    @property
    def kind(self) -> str:
        """What it is, in words."""
        arrays = any(split.pixels is not None for split in self.splits.values())
        return "idx files of" if arrays else "image tree"


def _as_pgm(pixels: np.ndarray) -> Iterable[bytes]:
    """Return images [N, height, width] as files of the format PGM.

    Such a file is a header and the pixels as they are: nothing is encoded.
    """
    _, height, width = pixels.shape
    header = f"P5 {width} {height} 255\n".encode()
    return (header + image.tobytes() for image in pixels)


def slashed(names: Iterable[str]) -> str:
    """Return names of folders, the first few."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"{name}/" for name in names[:3]) + more
