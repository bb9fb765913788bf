"""Lists of the labels and splits of images, as data sets are published.

`val_annotations.txt` of Tiny-ImageNet, `LOC_val_solution.csv` of Kaggle's ImageNet, the devkit of
ILSVRC 2012, `train.txt` of Food-101, and tables with a column of file names and one of labels or
splits, such as Hugging Face's `metadata.csv` and `metadata.jsonl`
(https://huggingface.co/docs/datasets/image_dataset#imagefolder).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from moesuite.errors import UserError
from moesuite.sources.images.folders import Folder, is_image
from moesuite.sources.roles import role_of

FILES = (
    "file_name", "filename", "file", "image", "image_id", "imageid", "image_name", "img", "path",
    "id_code", "id",
)  # fmt: skip
LABELS = (
    "label", "labels", "class", "class_name", "category", "target", "wnid", "breed", "species",
    "diagnosis", "dx", "predictionstring",
)  # fmt: skip
SPLITS = ("split", "set", "subset", "partition")
MOST_FOLDERS = 3  # before the name of a file
ANNOTATIONS = "val_annotations.txt"
SYNSETS = "meta.mat"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
CUB = {"images.txt", "train_test_split.txt"}
CUB_SPLITS = {"0": "test", "1": "train"}
NUMBER = re.compile(r"\s+\d+$")  # the label behind a name


class Entry(NamedTuple):
    """A line of a list.

    Attributes:
        name: of an image, as it is listed, with slashes.
        label: empty: the list has none.
        split: empty: the list does not say.
        file: the list.
    """

    name: str
    label: str
    split: str
    file: Path


def read_listing(file: Path) -> list[Entry]:
    """Return what a table lists of images; nothing if it is of something else."""
    try:
        return list(_entries(file))
    except (csv.Error, ValueError, IndexError):
        return []


def read_split_lists(top: Folder) -> list[Entry]:
    """Return what text files called like splits list: a name of an image on each line.

    CUB-200-2011 numbers its images, and lists which numbers are for training.
    """
    for folder in top.walk():
        if {*folder.files} >= CUB:
            return _read_cub(folder.path)
    return [
        Entry(_plain(NUMBER.sub("", line.strip())), "", said, file)
        for file in top.others()
        if file.suffix.lower() == ".txt" and (said := role_of(file.stem)) is not None
        for line in file.read_text(errors="replace", encoding="utf-8").splitlines()
    ]


def _read_cub(folder: Path) -> list[Entry]:
    file = folder / "train_test_split.txt"
    try:
        lines = (folder / "images.txt").read_text(encoding="utf-8").splitlines()
        names = dict(line.split(maxsplit=1) for line in lines)
        rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
        return [Entry(_plain(names[at]), "", CUB_SPLITS[which], file) for at, which in rows]
    except (ValueError, KeyError):  # lists of something else
        return []


def read_devkit(folder: Folder) -> list[Entry]:
    """Return the WordNet ids of ImageNet's validation images.

    A line of the ground truth is the ILSVRC2012_ID of the image of that number; meta.mat says which
    WordNet id that is.

    Raises:
        UserError: for a devkit that is not whole.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    hint = f"expected {TRUTH} and meta.mat; unpack ILSVRC2012_devkit_t12.tar.gz"
    if SYNSETS not in folder.files:
        raise UserError(f"{folder.path} has no {SYNSETS}; {hint}")
    file = folder.path / TRUTH
    try:
        synsets = loadmat(folder.path / SYNSETS, squeeze_me=True)["synsets"]
        ids = dict(zip(synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist(), strict=True))
        wnids = [str(ids[int(line)]) for line in file.read_text(encoding="utf-8").split()]
    except (OSError, MatReadError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{folder.path} is no data of ImageNet's devkit ({error}); {hint}"
        ) from None
    names = (f"ILSVRC2012_val_{number:08}" for number in range(1, len(wnids) + 1))
    return [Entry(name, wnid, "", file) for name, wnid in zip(names, wnids, strict=True)]


def _entries(file: Path) -> Iterator[Entry]:
    suffix = file.suffix.lower()
    if file.name.lower() == ANNOTATIONS:
        rows = (row for row in _cells(file, "\t") if len(row) > 1)
        yield from (Entry(_plain(row[0]), row[1], "", file) for row in rows)
    if suffix not in (".csv", ".tsv", ".jsonl") or "submission" in file.name.lower():
        return  # a sample submission has labels that are not true
    table = _json_lines(file) if suffix == ".jsonl" else _cells(file, _separator(file))
    first = next(table, [])
    header = [name.strip().lower() for name in first]
    image, label, split = (_column(header, names) for names in (FILES, LABELS, SPLITS))
    if len(first) == 2 and is_image(first[0]):  # no header
        table, image, label, split = chain([first], table), 0, 1, None
    if sorted(header) == ["id", "image"]:
        label = header.index("id")  # Kaggle's: which whale an image shows
    if image is None:
        return
    if label is None and split is None:
        yield from _one_hot(table, first, image, file)
    for row in table:
        cells = [
            row[at].strip() if at is not None and at < len(row) else "" for at in (label, split)
        ]
        if image < len(row) and row[image].strip() and (cells[0] or label is None):
            if label is not None and header[label] == "predictionstring":
                cells[0] = cells[0].split()[0]  # a WordNet id and a box, more than once
            yield Entry(_plain(row[image]), cells[0], cells[1], file)


def _one_hot(
    table: Iterable[Sequence[str]], header: Sequence[str], image: int, file: Path
) -> Iterator[Entry]:
    """Yield lines of a column for each class, with 1 in that of an image and 0 in the others.

    Raises:
        ValueError: for columns of something else.
    """
    for row in filter(None, table):
        marks = {name: float(row[at]) for at, name in enumerate(header) if at != image}
        if len(marks) < 2 or sorted(marks.values()) != [0] * (len(marks) - 1) + [1]:
            raise ValueError(f"{file}: not one class for each image")
        yield Entry(_plain(row[image]), max(marks, key=lambda name: marks[name]), "", file)


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _separator(file: Path) -> str:
    if file.suffix.lower() == ".tsv":
        return "\t"
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline()
    return ";" if first.count(";") > first.count(",") else ","


def _cells(file: Path, separator: str) -> Iterator[list[str]]:
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        yield from csv.reader(stream, delimiter=separator)


def _json_lines(file: Path) -> Iterator[list[str]]:
    """Yield the keys of the first object, then the values of each."""
    keys: list[str] = []
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        for row in map(json.loads, filter(str.strip, stream)):
            if not isinstance(row, dict):
                raise ValueError(f"{file}: a line is no object")
            if not keys:
                keys = list(row)
                yield keys
            yield ["" if row.get(key) is None else str(row[key]) for key in keys]


def _plain(name: str) -> str:
    """Return a name with slashes, and not more folders than are compared."""
    parts = name.strip().replace("\\", "/").removeprefix("./").split("/")
    return "/".join(parts[-MOST_FOLDERS - 1 :])
