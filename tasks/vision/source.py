"""Where images come from and what shape they get: options, and reading by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt
from PIL import Image

from moesuite.task import HubSource, Readable, Source, UserError, cache_folder
from moesuite.tasks.vision.images import Transform, pixels_of, unreadable_files
from moesuite.tasks.vision.installed import Embedded, load_embedded
from moesuite.tasks.vision.splits import Arrays, Ids, Rows, Stream, decode_all

READABLE = Readable(
    "class folders of images (<class>/<image>, also below train/ and test/), MNIST's idx files, or "
    "tables (parquet, csv, jsonl, ...) with an image and a label column",
    images=True,
)
Count = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class ImageSource(HubSource):
    """A data set of images with a label each.

    Attributes:
        embedded: data set of an installed package, read unless `source` is given: digits, mnist5k.
        config: name of the configuration on the hub.
        splits: name of the split of each role: train, test, optionally val.
        columns: names of the columns of the image and the label.
        cache: decode all images once into memory-mapped arrays of `image_size`.
        streaming: read from the hub while training; needs trainer.max_steps.
        strict: stop at an unreadable image; false: leave it out and count it.
    """

    embedded: Literal["digits", "mnist5k"] | None = None
    config: str | None = None
    splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    columns: dict[str, str] = field(default_factory=lambda: {"image": "image", "label": "label"})
    cache: bool = False
    streaming: bool = False
    strict: bool = True

    @property
    def as_arrays(self) -> bool:
        """Whether images are read as arrays of bytes, whole batches at once."""
        if self.embedded is not None and self.source is None:
            return True
        return self.cache and not self.streaming


@dataclass(frozen=True)
class ImageFormat:
    """Number of classes, and what the model sees.

    Attributes:
        num_classes: classes, >= 1; checked against the data.
        image_size: height and width in pixels that the model sees, >= 1.
        channels: 1 (grey) or 3 (RGB).
        mean: mean of each channel of pixels scaled to 0..1, subtracted.
        std: standard deviation of each channel of pixels scaled to 0..1, > 0, divided by.
    """

    num_classes: Count = 10
    image_size: Count = 32
    channels: Literal[1, 3] = 3
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[Annotated[float, Gt(0)]] = field(default_factory=lambda: [0.229, 0.224, 0.225])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image: [channels, height, width]."""
        return self.channels, self.image_size, self.image_size


@dataclass(frozen=True)
class ImageData:
    """Images as read.

    Attributes:
        splits: data set of each role.
        unreadable: names of the images that were left out.
        fingerprint: of what was read.
        description: one line for the record.
        classes: names of the classes by number; empty if the data does not name them.
    """

    splits: Mapping[str, Any]
    unreadable: list[str]
    fingerprint: str
    description: str
    classes: Sequence[str] = ()


def read_images(
    source: ImageSource, image: ImageFormat, transform: Callable[[str], Transform | None]
) -> ImageData:
    """Read images.

    Args:
        source: where they come from.
        image: what the model sees.
        transform: returns the transform of a role; None: normalise whole batches only.

    Raises:
        UserError: for a source that is missing, empty, or of another schema or number of classes.
    """
    if source.embedded is not None and source.source is None:
        return _embedded(load_embedded(source.embedded), image, transform)
    loaded = source.load(source.splits, source.config, source.streaming, READABLE)
    splits, unreadable = dict[str, Any](), list[str]()
    for role in loaded.splits:
        splits[role], bad = _read_split(source, image, loaded, role, transform(role))
        unreadable += bad
    names = class_names(loaded.splits["train"], source.columns["label"]) or ()
    return ImageData(splits, unreadable, loaded.fingerprint, loaded.description, names)


def _embedded(
    data: Embedded, image: ImageFormat, transform: Callable[[str], Transform | None]
) -> ImageData:
    check_labels(data.labels, None, image.num_classes, data.description)
    pictures = [Image.fromarray(pixels.squeeze()) for pixels in data.pixels]
    pixels = np.stack([pixels_of(picture, image.image_size) for picture in pictures])
    splits = {
        role: Arrays(pixels[index], data.labels[index], transform(role), Ids(index))
        for role, index in data.parts.items()
    }
    return ImageData(splits, [], data.fingerprint, data.description)


def _read_split(
    source: ImageSource, image: ImageFormat, loaded: Source, role: str, transform: Any
) -> tuple[Any, list[str]]:
    """Return a split, and the names of its images that are unreadable and left out."""
    import datasets

    rows, where = loaded.splits[role], f"{loaded.description}, split {role}"
    column, label = source.columns["image"], source.columns["label"]
    check_columns(rows.column_names or [], source.columns, where)
    names = class_names(rows, label)
    rows = rows.cast_column(column, datasets.Image(decode=False))
    if source.streaming:
        return Stream(rows, source.columns, image.channels, transform, role == "train"), []
    labels = np.asarray(rows[label], dtype=np.int64)
    check_labels(labels, names, image.num_classes, where)
    if source.cache:
        folder, key = cache_folder() / "images", f"{loaded.fingerprint} {role}"
        pixels, broken = decode_all(rows, column, image.image_size, image.channels, folder, key)
        readable = np.delete(np.arange(len(labels)), broken)
        images = pixels[readable] if broken else pixels
        bad = [f"{where}, row {index}" for index in broken]
        ids = Ids.of(rows, column, readable, source.source)
        return Arrays(images, labels[readable], transform, ids), bad
    unreadable = unreadable_files(rows[column]) if source.source is not None else {}
    readable = np.delete(np.arange(len(labels)), list(unreadable))
    ids = Ids.of(rows, column, readable, source.source)
    rows = rows.select(readable) if unreadable else rows
    split = Rows(rows, labels[readable], column, image.channels, transform, ids)
    return split, [*unreadable.values()]


def class_names(rows: Any, label: str) -> list[str] | None:
    """Return the names of the classes that the column of labels declares, or None."""
    return getattr(rows.features[label], "names", None) if rows.features else None


def check_columns(columns: Sequence[str], wanted: Mapping[str, str], where: str) -> None:
    """Raise `UserError` if a column is missing, with the columns of the data."""
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
        raise UserError(f"{where} is empty: no rows; expected at least one example per split")
    count = len(names) if names is not None else int(labels.max()) + 1
    if count != num_classes or labels.min() < 0:
        raise UserError(
            f"{where} has {count} classes, the task {num_classes}; expected equal counts; "
            f"type for example task.num_classes={count}"
        )
