"""Reading images and their labels from where they are, by the options of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from PIL import Image

from moesuite.sources.columns import USUAL
from moesuite.sources.labels import LabelColumn, class_labels, labels_as_they_are
from moesuite.sources.raw.classes import check_count, one_hot, order_of, shortened
from moesuite.task import Column, Source, UserError, cache_folder, match_columns, note_of
from moesuite.tasks.vision.decoding import Decoding, dark
from moesuite.tasks.vision.images import Transform, cell_name, pixels_of, scan_files
from moesuite.tasks.vision.installed import Embedded, load_embedded
from moesuite.tasks.vision.source import READABLE, ImageFormat, ImageSource
from moesuite.tasks.vision.splits import Arrays, Ids, Rows, Stream, decode_all, of_files

FIRST = 16  # images whose brightness is looked at


@dataclass(frozen=True)
class ImageData:
    """Images as read.

    Attributes:
        splits: data set of each role.
        unreadable: names of the images that were left out.
        fingerprint: of what was read.
        description: one line for the record.
        classes: names of the classes in their order; empty if the data does not name them.
        notes: what a reader has to know, a sentence each.
        problems: with its labels, a sentence each, if they are only shown.
    """

    splits: Mapping[str, Any]
    unreadable: list[str]
    fingerprint: str
    description: str
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()


def read_images(
    source: ImageSource,
    image: ImageFormat,
    transform: Callable[[str], Transform | None],
    previewing: bool = False,
) -> ImageData:
    """Read images.

    Args:
        source: where they come from.
        image: what the model sees.
        transform: returns the transform of a role; None: normalise whole batches only.
        previewing: show the labels as they are where they cannot be trained on.

    Raises:
        UserError: for a source that is missing, empty, or of another schema or number of classes.
    """
    if source.embedded is not None and source.source is None:
        return _embedded(load_embedded(source.embedded), image, transform)
    reading = Reading(source, image, source.decoding(image.channels))
    loaded = source.load(source.splits, source.config, source.streaming, READABLE)
    rows, notes = dict[str, Any](), [*loaded.notes]
    for role, table in loaded.splits.items():
        where = f"{loaded.description}, split {loaded.name_of(role)}"
        rows[role], note = reading.undecoded(table, where)
        notes += [note] * bool(note and note not in notes)
    if source.streaming:
        names = reading.stream_classes(rows, loaded.description)
        splits = reading.streams(rows, names, loaded.description, transform)
        return ImageData(splits, [], loaded.fingerprint, loaded.description, names, notes)
    columns = {
        loaded.name_of(role): LabelColumn(part["label"][:], class_names(part))
        for role, part in rows.items()
    }
    problems = list[str]()
    try:
        labels = class_labels(columns, image.num_classes, loaded.description)
    except UserError as error:
        if not previewing:
            raise
        problems, labels = [str(error)], labels_as_they_are(columns)
    parts = {
        role: reading.part(
            part, labels.indices[loaded.name_of(role)], loaded, role, transform(role)
        )
        for role, part in rows.items()
    }
    unreadable = list(chain.from_iterable(part.unreadable for part in parts.values()))
    traits = sum((part.traits for part in parts.values()), Counter[str]())
    notes += [*labels.notes, *reading.decoding.notes(traits)]
    if warning := dark(next(iter(rows.values()))[:FIRST]["image"], reading.decoding):
        notes.append(warning)
    if unreadable:
        notes.append(f"{len(unreadable)} unreadable images left out: {shortened(unreadable)}")
    data = {role: part.data for role, part in parts.items()}
    about = loaded.fingerprint, loaded.description
    return ImageData(data, unreadable, *about, labels.names, notes, problems)


def _embedded(
    data: Embedded, image: ImageFormat, transform: Callable[[str], Transform | None]
) -> ImageData:
    check_count([*map(str, np.unique(data.labels))], image.num_classes, data.description)
    pictures = [Image.fromarray(pixels.squeeze()) for pixels in data.pixels]
    pixels = np.stack([pixels_of(picture, image.image_size) for picture in pictures])
    splits = {
        role: Arrays(pixels[index], data.labels[index], transform(role), Ids(index))
        for role, index in data.parts.items()
    }
    return ImageData(splits, [], data.fingerprint, data.description)


@dataclass(frozen=True)
class Part:
    """A split as read.

    Attributes:
        data: its images.
        unreadable: names of the images that were left out.
        traits: counts of the images that were looked at, and of what is unusual of them.
    """

    data: Any
    unreadable: list[str]
    traits: Counter[str]


@dataclass(frozen=True)
class Reading:
    """Reads the splits of a source.

    Attributes:
        source: options of reading.
        image: what the model sees.
        decoding: what pixels become.
    """

    source: ImageSource
    image: ImageFormat
    decoding: Decoding

    def undecoded(self, rows: Any, where: str) -> tuple[Any, str]:
        """Return rows of `image`, cells {bytes, path}, and `label`; and what was taken for them."""
        import datasets

        columns = self.source.columns
        rows, told = self._with_label(rows)
        wanted = [
            Column("image", "image", columns.get("image", ""), "task.columns.image"),
            Column("label", "label", columns.get("label", ""), "task.columns.label"),
        ]
        matched = match_columns(rows, wanted, where)
        # of a stream, columns that are selected before are decoded, and stop at an unreadable image
        rows = rows.cast_column(matched["image"], datasets.Image(decode=False))
        rows = rows.select_columns([*matched.values()])
        rows = rows.rename_columns({name: what for what, name in matched.items() if name != what})
        return rows, told or note_of(matched, wanted)

    def _with_label(self, rows: Any) -> tuple[Any, str]:
        """Return rows with a column of labels, of one column for each class if there is none."""
        import datasets

        usual = {self.source.columns.get("label", "label").lower(), *USUAL["label"]}
        if self.source.streaming or usual & {name.lower() for name in rows.column_names}:
            return rows, ""
        numbers = {
            name: rows[name][:]
            for name, feature in rows.features.items()
            if str(getattr(feature, "dtype", "")).startswith(("int", "uint", "bool", "float"))
        }
        names, places = one_hot(numbers)
        if not names:
            return rows, ""
        rows = rows.add_column("label", places, feature=datasets.ClassLabel(names=names))
        return rows, f"label is the one of the columns {shortened(names)} that is 1"

    def part(
        self, rows: Any, labels: np.ndarray, loaded: Source, role: str, transform: Any
    ) -> Part:
        """Read a split; labels are indices of classes."""
        where = f"{loaded.description}, split {loaded.name_of(role)}"
        if self.source.cache:
            folder, key = cache_folder() / "images", f"{loaded.fingerprint} {role}"
            size = self.image.image_size
            pixels, broken, traits = decode_all(rows, size, self.decoding, folder, key, where)
            readable = np.delete(np.arange(len(labels)), broken)
            images = pixels[readable] if broken else pixels
            ids = Ids.of(rows, readable, self.source.source)
            bad = [cell_name(rows[index]["image"], index, where) for index in broken]
            return Part(Arrays(images, labels[readable], transform, ids), bad, traits)
        if not of_files(rows):
            # in a table headers cost a read of all images: the first tell what pixels they have
            _, traits = scan_files(rows.select(range(min(FIRST, len(rows)))), self.decoding, where)
            ids = Ids.of(rows, np.arange(len(labels)), self.source.source)
            return Part(Rows(rows, labels, self.decoding, transform, ids, where), [], traits)
        unreadable, traits = scan_files(rows, self.decoding, where)
        readable = np.delete(np.arange(len(labels)), list(unreadable))
        ids = Ids.of(rows, readable, self.source.source)
        rows = rows.select(readable) if unreadable else rows
        data = Rows(rows, labels[readable], self.decoding, transform, ids, where)
        return Part(data, [*unreadable.values()], traits)

    def stream_classes(self, rows: Mapping[str, Any], where: str) -> Sequence[str]:
        """Return the names of the classes that streams declare; of others no row is read ahead."""
        if any(str(getattr(label_of(part), "dtype", "")) == "string" for part in rows.values()):
            raise UserError(
                f"{where}: a stream of labels that are text does not tell their classes; expected "
                "integers; type task.streaming=false"
            )
        names = next(filter(None, map(class_names, rows.values())), None)
        if names is not None:
            check_count(names, self.image.num_classes, where)
        return names or [str(index) for index in range(self.image.num_classes)]

    def streams(
        self,
        rows: Mapping[str, Any],
        names: Sequence[str],
        where: str,
        transform: Callable[[str], Any],
    ) -> dict[str, Stream]:
        """Return the splits as streams, whose labels are mapped onto `names`."""
        streams = {}
        for role, part in rows.items():
            declared = class_names(part) or names
            split, shuffle = f"{where}, split {role}", role == "train"
            order = order_of(declared, names, declared, split)
            streams[role] = Stream(part, order, self.decoding, transform(role), shuffle, split)
        return streams


def label_of(rows: Any) -> Any:
    """Return the feature of the labels; None if it is not known before rows are read."""
    return (rows.features or {}).get("label")


def class_names(rows: Any) -> Sequence[str] | None:
    """Return the names of the classes that a split declares, or None."""
    return getattr(label_of(rows), "names", None)
