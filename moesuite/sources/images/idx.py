"""The idx files of MNIST and its kin: train-images-idx3-ubyte(.gz), t10k-labels.idx1-ubyte, ...

The format: http://yann.lecun.com/exdb/mnist/. A magic number (0, 0, type 8: unsigned byte, number
of dimensions), the dimensions as big-endian 32-bit integers, then the bytes.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from moesuite.errors import UserError
from moesuite.sources.images.folders import Folder
from moesuite.sources.images.split import ImageTree, Split
from moesuite.sources.roles import check_declared, choose

NAME = re.compile(
    r"(?P<set>.*?)[-_.]?(?P<split>train|t10k|test|val|valid|validation|dev)"
    r"[-_.](?P<what>images|labels)[-_.]idx(?P<dimensions>[13])[-_.]ubyte(\.gz)?",
    re.IGNORECASE,
)
DIMENSIONS = {"images": 3, "labels": 1}


def read_idx(top: Folder, declared: Mapping[str, str], also_val: bool = True) -> ImageTree | None:
    """Read the idx files of a folder; None where there are none.

    Raises:
        UserError: for several data sets in one folder, a file that is missing, or one that is not
            whole.
    """
    pairs = _pairs(top)
    if not pairs:
        return None
    chosen = choose(list(pairs), declared, also_val)
    needed = "train" if "train" in declared else "test"
    if needed not in chosen:
        raise UserError(
            f"task.source={top.path}: no idx files of the split {declared[needed]!r}; there are "
            f"{', '.join(pairs)}; expected {declared[needed]}-images-idx3-ubyte and "
            f"{declared[needed]}-labels-idx1-ubyte"
        )
    check_declared(pairs, declared, f"task.source={top.path}")
    read = {role: _read_split(top, names[0], pairs[names[0]]) for role, names in chosen.items()}
    numbers = sorted({int(number) for _, labels in read.values() for number in np.unique(labels)})
    classes = tuple(map(str, numbers))
    splits = {}
    for role, names in chosen.items():
        pixels, labels = read[role]
        files = [pairs[names[0]][what] for what in DIMENSIONS]
        splits[role] = Split(names[0], list(map(str, labels.tolist())), classes, files, pixels)
    used = {split.name for split in splits.values()}
    unused = [f"idx files of {name}" for name in pairs if name not in used]
    return ImageTree(splits, (f"not used: {', '.join(unused)}",) if unused else ())


def _pairs(top: Folder) -> dict[str, dict[str, Path]]:
    """Return the files of images and labels of each split; t10k is MNIST's word for test."""
    sets: dict[str, dict[str, dict[str, Path]]] = {}
    for folder in top.walk():
        for file in sorted(folder.files, key=lambda name: name.lower().endswith(".gz")):
            if match := NAME.fullmatch(file):
                split = match["split"].lower().replace("t10k", "test")
                name = str((folder.path / match["set"]).relative_to(top.path))
                files = sets.setdefault(name, {}).setdefault(split, {})
                files.setdefault(match["what"].lower(), folder.path / file)
    if len(sets) > 1:
        folders = [name for name in sets if (top.path / name).is_dir()]
        hint = "move the files of one into a folder of their own"
        if folders:
            hint = f"type for example task.source={top.path / folders[0]}"
        raise UserError(
            f"task.source={top.path}: idx files of {len(sets)} data sets: {', '.join(sets)}; "
            f"expected one; {hint}"
        )
    return next(iter(sets.values()), {})


def _read_split(top: Folder, split: str, files: Mapping[str, Path]) -> tuple[np.ndarray, ...]:
    """Return pixels [N, height, width] and labels [N]."""
    for what, dimensions in DIMENSIONS.items():
        if what not in files:
            there = next(iter(files.values())).name
            raise UserError(
                f"task.source={top.path}: {there} has no file of its {what} beside it; expected "
                f"{split.replace('test', 't10k')}-{what}-idx{dimensions}-ubyte"
            )
    pixels, labels = (_read(files[what], number) for what, number in DIMENSIONS.items())
    if len(pixels) != len(labels):
        raise UserError(
            f"{files['images']} holds {len(pixels)} images, {files['labels'].name} "
            f"{len(labels)} labels; expected equal counts; get both files again"
        )
    return pixels, labels


def _read(file: Path, dimensions: int) -> np.ndarray:
    """Return the array of an idx file."""
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: not a whole gzip file ({error}); get it again") from None
    if not data:
        raise UserError(f"{file}: is empty; expected an idx file; get it again")
    magic = bytes([0, 0, 8, dimensions])
    if data[:4] != magic:
        raise UserError(
            f"{file}: begins with {data[:4].hex(' ')}; expected {magic.hex(' ')}, the magic number "
            f"of idx files of {dimensions} dimension{'s' * (dimensions > 1)} of bytes; "
            "get the file again"
        )
    start = 4 + 4 * dimensions
    shape = np.frombuffer(data[4:start].ljust(start - 4, b"\0"), ">u4").tolist()
    if len(data) - start != math.prod(shape) or 0 in shape:
        raise UserError(
            f"{file}: holds {max(0, len(data) - start)} bytes of data, its header says "
            f"{'×'.join(map(str, shape))}; expected a whole file with at least one image; "
            "get it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
