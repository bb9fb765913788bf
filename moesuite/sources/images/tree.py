"""Trees of images: which folder is a split, which a class, and what is neither.

    <split>/<class>/<image>, also with more folders below a class, as torchvision's `ImageFolder`
    <class>/<image>, all of it for training
    <class>/<split>/<image>
    <split>/<image>, with labels in a list: see `find_labels`

each below any number of folders that hold nothing else.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from moesuite.errors import UserError
from moesuite.sources.images.folders import inner_folder, read_folder
from moesuite.sources.images.idx import read_idx
from moesuite.sources.images.parts import find_parts
from moesuite.sources.images.split import ImageTree, Part, Split
from moesuite.sources.images.words import (
    beside,
    kinds,
    left_out,
    look_alikes,
    missing,
    told,
    unlabelled,
    unused,
)
from moesuite.sources.roles import check_declared, choose, role_of


def read_image_tree(
    folder: Path, declared: Mapping[str, str], also_val: bool = True, tables: bool = False
) -> ImageTree | None:
    """Read which images a folder holds; none is opened.

    Args:
        folder: the source.
        declared: name of each role's split, for example {train: train, test: validation}.
        also_val: take a validation split that is not declared.
        tables: whether there are tables beside the images, which may hold the data.

    Returns:
        Splits by role, without test where there is neither a test nor a validation split; None: no
        images, or, with `tables`, images that are in no classes.

    Raises:
        UserError: for images whose splits, classes or labels cannot be told.
    """
    top = read_folder(folder)
    if (arrays := read_idx(top, declared, also_val)) is not None:
        return arrays
    if not top.holds_images:
        if (alike := look_alikes(top)) and not tables:
            raise UserError(
                f"task.source={folder}: no image that Pillow can read, but {kinds(alike, top)}; "
                "convert them, for example to PNG"
            )
        return None
    root = inner_folder(top)
    parts, spare = find_parts(root, top, declared)
    if tables and not any(len(part.classes) > 1 for part in parts):
        return None
    needed = "train" if "train" in declared else "test"
    roles = _roles(parts, declared, also_val)
    if needed not in roles:
        raise missing(parts, spare, declared[needed], root)
    check_declared([part.name for part in parts], declared, f"task.source={folder}")
    used = [*chain(*roles.values())]
    if flat := [part for part in used if not part.classes]:
        raise unlabelled(flat[0], top)
    training = {name for part in roles.get("train", []) for name in part.classes}
    splits = {role: _joined(those, training) for role, those in roles.items()}
    if "train" in splits and len(splits["train"].classes) == 1:
        raise UserError(
            f"task.source={folder}: all images for training are of one class, "
            f"{splits['train'].classes[0]}; expected two or more: <class>/<image>, or "
            "train/<class>/<image>"
        )
    notes = [] if root is top else [f"images are read from {root.path.relative_to(folder)}/"]
    notes += [*unused(parts, used, spare, root), *told(used, top), *left_out(used, root)]
    notes += beside(used, top)
    lists = tuple(part.labels.file for part in used if part.labels)
    return ImageTree(splits, tuple(notes), lists)


def _roles(
    parts: Sequence[Part], declared: Mapping[str, str], also_val: bool
) -> dict[str, list[Part]]:
    """Return the splits that play each role; test images without labels play none."""
    if [part.name for part in parts] == [""]:
        return {"train" if "train" in declared else "test": list(parts)}
    names = [part.name for part in parts if part.classes or role_of(part.name) != "test"]
    chosen = choose(names, declared, also_val)
    return {role: [part for part in parts if part.name in chosen[role]] for role in chosen}


def _joined(parts: Sequence[Part], training: set[str]) -> Split:
    """Return the images of splits, sorted by class, then as they are in their folders."""
    pairs = [(name, part.classes[name]) for part in parts for name in part.classes]
    pairs.sort(key=lambda pair: pair[0])
    labels = [name for name, images in pairs for _ in images]
    files = [image for _, images in pairs for image in images]
    _check_encoding(files)
    # a class of the training split without images here, if a list or an empty folder knows of it
    known = training if all(part.labels for part in parts) else training & _folders(parts)
    classes = sorted({*labels, *known})
    name = ", ".join(dict.fromkeys(part.name for part in parts))
    return Split(name, labels, tuple(classes), files)


def _folders(parts: Sequence[Part]) -> set[str]:
    """Return the names of class folders, empty or not."""
    return {child.name for part in parts for folder in part.folders for child in folder.folders}


def _check_encoding(files: Sequence[Path]) -> None:
    """Raise `UserError` for a name that cannot be stored in a table."""
    for file in files:
        if not _is_utf8(file):
            folder = next(filter(_is_utf8, file.parents))
            raise UserError(
                f"{str(file)!a}: the name is not UTF-8; expected names that are; rename it, for "
                f"example by convmv -r -f latin1 -t utf8 --notest {shlex.quote(str(folder))}"
            )


def _is_utf8(path: Path) -> bool:
    """Whether a path can be stored in a table."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
