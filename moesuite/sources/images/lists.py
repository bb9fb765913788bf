"""Labels of images that lie in one folder: in lists beside them, as data sets are published.

`val_annotations.txt` of Tiny-ImageNet, `LOC_val_solution.csv` of Kaggle's ImageNet, the devkit of
ILSVRC 2012, and tables with a column of file names and one of labels, such as Hugging Face's
`metadata.csv` (https://huggingface.co/docs/datasets/image_dataset#imagefolder).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from moesuite.errors import UserError
from moesuite.sources.images.folders import Folder, is_image
from moesuite.sources.layout import role_of

FILES = (
    "file_name", "filename", "file", "image", "image_id", "imageid", "image_name", "img", "path",
    "id_code", "id",
)  # fmt: skip
LABELS = (
    "label", "labels", "class", "class_name", "category", "target", "wnid", "breed", "species",
    "diagnosis", "dx", "predictionstring",
)  # fmt: skip
ANNOTATIONS = "val_annotations.txt"
SYNSETS = "meta.mat"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
MOST_FOLDERS = 3  # that a list names before a file
IMAGENET = re.compile(r"ILSVRC2012_val_(\d{8})")


@dataclass(frozen=True)
class Labels:
    """Labels of images.

    Attributes:
        file: list that they are read from.
        names: under which the images are listed.
        of_images: label of each image.
    """

    file: Path
    names: Sequence[str]
    of_images: Sequence[str]


def find_labels(images: Sequence[Path], top: Folder, role: str | None = None) -> Labels | None:
    """Return the label of each image from a list; None if there is no list.

    Lists are looked for beside the images, in the folders above up to `top`, and, for ImageNet's
    devkit, anywhere below `top`.

    Args:
        images: in one folder.
        top: the source.
        role: what their split is for, by its name: lists for another one are not theirs.

    Raises:
        UserError: for a list that lacks some of the images, or a devkit that is not whole.
    """
    by_path = {folder.path: folder for folder in top.walk()}
    parents = images[0].parents
    for folder in (by_path[parent] for parent in parents if parent in by_path):
        for name in folder.files:
            if role is not None and role_of(Path(name).stem) not in (None, role):
                continue
            file = folder.path / name
            if labels := _of_images(_read_list(file), images, file):
                return labels
    if any(IMAGENET.fullmatch(image.stem) for image in images):
        for folder in by_path.values():
            if TRUTH in folder.files:
                return _of_images(_read_devkit(folder), images, folder.path / TRUTH)
    return None


def _of_images(
    pairs: Sequence[tuple[str, str]], images: Sequence[Path], file: Path
) -> Labels | None:
    """Return the label of each image; None if the list is of other images."""
    labels: dict[str, set[str]] = {}
    for name, label in pairs:
        labels.setdefault(name, set()).add(label)
    names = [next((name for name in _names(image) if name in labels), None) for image in images]
    listed = [name for name in names if name is not None]
    if not listed:
        return None
    missing = [image.name for image, name in zip(images, names, strict=True) if name is None]
    if missing:
        raise UserError(
            f"{file} has no label for {len(missing)} of the {len(images)} images in "
            f"{images[0].parent} ({', '.join(missing[:3])}); expected one for each; add them, or "
            "remove the images"
        )
    if several := [name for name in listed if len(labels[name]) > 1]:
        raise UserError(
            f"{file} has {len(labels[several[0]])} labels for {several[0]} "
            f"({', '.join(sorted(labels[several[0]])[:3])}); expected one for each image"
        )
    return Labels(file, listed, [label for name in listed for label in labels[name]])


def _names(image: Path) -> Iterator[str]:
    """Yield the names that an image may have in a list: 1, train/1, images/train/1, ..."""
    name = image.stem
    yield name
    for parent in image.parents[:MOST_FOLDERS]:
        name = f"{parent.name}/{name}"
        yield name


def _read_list(file: Path) -> list[tuple[str, str]]:
    """Return names of images without suffix, and labels; nothing if it is no such list."""
    try:
        return _parse(file)
    except csv.Error:  # a table of something else
        return []


def _parse(file: Path) -> list[tuple[str, str]]:
    if file.name.lower() == ANNOTATIONS:
        return [(_stem(row[0]), row[1]) for row in _cells(file, "\t") if len(row) > 1]
    if file.suffix.lower() not in (".csv", ".tsv") or "submission" in file.name.lower():
        return []  # a sample submission has labels that are not true
    rows = _cells(file, "\t" if file.suffix.lower() == ".tsv" else ",")
    header = [name.strip().lower() for name in next(rows, [])]
    image = next((header.index(name) for name in FILES if name in header), None)
    label = next((header.index(name) for name in LABELS if name in header), None)
    if image is None or label is None:
        return []
    rows = (row for row in rows if len(row) > max(image, label) and row[label].strip())
    if header[label] == "predictionstring":  # Kaggle's: a WordNet id and a box, more than once
        return [(_stem(row[image]), row[label].split()[0]) for row in rows]
    return [(_stem(row[image]), row[label].strip()) for row in rows]


def _cells(file: Path, separator: str) -> Iterator[list[str]]:
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        yield from csv.reader(stream, delimiter=separator)


def _stem(name: str) -> str:
    """Return the name of an image in a list, without suffix."""
    path = PurePosixPath(name.strip())
    return str(path.with_suffix("") if is_image(path.name) else path)


def _read_devkit(folder: Folder) -> list[tuple[str, str]]:
    """Return the WordNet ids of ImageNet's validation images.

    A line of the ground truth is the ILSVRC2012_ID of the image of that number; meta.mat says which
    WordNet id that is.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    hint = f"expected {TRUTH} and meta.mat; unpack ILSVRC2012_devkit_t12.tar.gz"
    if SYNSETS not in folder.files:
        raise UserError(f"{folder.path} has no {SYNSETS}; {hint}")
    try:
        synsets = loadmat(folder.path / SYNSETS, squeeze_me=True)["synsets"]
        ids = dict(zip(synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist(), strict=True))
        lines = (folder.path / TRUTH).read_text().split()
        wnids = [str(ids[int(line)]) for line in lines]
    except (OSError, MatReadError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{folder.path} is no data of ImageNet's devkit ({error}); {hint}"
        ) from None
    return [(f"ILSVRC2012_val_{number:08}", wnid) for number, wnid in enumerate(wnids, start=1)]
