"""Images as a reader is shown them: as stored, with the names of their classes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from moesuite.task import Example, Lazy, Preview
from moesuite.tasks.vision.images import decode
from moesuite.tasks.vision.source import ImageFormat
from moesuite.tasks.vision.splits import Arrays, Stream


def preview(split: Any, image: ImageFormat, classes: Sequence[str]) -> Preview:
    """Return what a reader wants to see of a split.

    Args:
        split: arrays, rows or a stream of images.
        image: what the model sees.
        classes: names of the classes; empty: they are numbered.
    """
    names = list(classes) or [str(label) for label in range(image.num_classes)]
    scale = {"mean": image.mean, "std": image.std}
    if isinstance(split, Stream):
        return Preview(_streamed(split, names), classes=names, **scale)
    labels = [_name(names, label) for label in split.labels.tolist()]

    def example(index: int) -> Example:
        if isinstance(split, Arrays):
            picture = Image.fromarray(split.images[index].squeeze())
            return Example(image=picture, mode=picture.mode, label=labels[index])
        return _of_cell(split.rows[index][split.image], image.channels, labels[index])

    return Preview(Lazy(len(labels), example), labels, names, **scale)


def _streamed(split: Stream, names: Sequence[str]) -> Iterator[Example]:
    for row in split.rows:
        label = _name(names, int(row[split.columns["label"]]))
        yield _of_cell(row[split.columns["image"]], split.channels, label)


def _name(names: Sequence[str], label: int) -> str:
    """Return the name of a class, or its number: -1 stands for a label that is not public."""
    return names[label] if 0 <= label < len(names) else str(label)


def _of_cell(cell: dict[str, Any], channels: int, label: str) -> Example:
    """Return an example of an image cell of a data set, {bytes, path}.

    Raises:
        OSError: for an image that cannot be decoded.
    """
    picture = decode(cell, channels)
    stream = io.BytesIO(cell["bytes"]) if cell["bytes"] is not None else cell["path"]
    with Image.open(stream) as stored:
        return Example(image=picture, mode=stored.mode, label=label)
