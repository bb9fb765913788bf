"""Images as a reader is shown them: as stored, with the names of their classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from moesuite.task import Example, Lazy, Preview
from moesuite.tasks.vision.decoding import Decoding, opened, pixels
from moesuite.tasks.vision.images import cell_name
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
    labels = [names[label] for label in split.labels.tolist()]

    def example(index: int) -> Example:
        if isinstance(split, Arrays):
            picture = Image.fromarray(split.images[index].squeeze())
            return Example(image=picture, mode=picture.mode, label=labels[index])
        cell = split.rows[index]["image"]
        try:
            return _of_cell(cell, split.decoding, labels[index])
        except OSError as error:
            raise OSError(f"{cell_name(cell, index, split.where)}: {error}") from None

    return Preview(Lazy(len(labels), example), labels, names, **scale)


def _streamed(split: Stream, names: Sequence[str]) -> Iterator[Example]:
    """Yield images in their order, of an unreadable one what is wrong."""
    for number, row in enumerate(split.rows):
        index = split.class_of(row["label"])
        label = str(row["label"]) if index is None else names[index]
        try:
            yield _of_cell(row["image"], split.decoding, label)
        except OSError as error:
            yield Example(
                texts=(f"{cell_name(row['image'], number, split.where)}: {error}",), label=label
            )


def _of_cell(cell: dict[str, Any], decoding: Decoding, label: str) -> Example:
    """Return an example of an image cell of a data set, {bytes, path}.

    Raises:
        OSError: for an image that cannot be decoded.
    """
    with opened(cell) as stored:
        mode = stored.mode
        return Example(image=pixels(stored, decoding), mode=mode, label=label)
