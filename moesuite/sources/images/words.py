"""What is read of an image tree and what is not, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from moesuite.errors import UserError
from moesuite.sources.images.folders import LOOK_ALIKE, Folder
from moesuite.sources.images.lists import IMAGENET
from moesuite.sources.images.parts import Part, slashed
from moesuite.sources.layout import found_in, role_of


def unused(
    parts: Sequence[Part], used: Sequence[Part], spare: Sequence[Folder], root: Folder
) -> Iterable[str]:
    """Yield a sentence that names the images that are not used."""
    words = [
        f"{part.name}/ ({counted(part.count, 'image')}{'' if part.classes else ' without labels'})"
        for part in parts
        if part not in used
    ]
    words += [f"{folder.name}/ ({counted(len(folder.images), 'image')})" for folder in spare]
    loose = [*chain(*(part.loose for part in used))]
    if root.path not in [folder.path for part in used for folder in part.folders]:
        loose += root.loose
    if loose:
        words.append(f"{counted(len(loose), 'image')} in no class folder {_names(loose, root)}")
    if words:
        yield f"not used: {', '.join(words)}"


def left_out(parts: Sequence[Part], root: Folder) -> Iterable[str]:
    """Yield sentences: lists of labels, folders below classes, files and folders without images."""
    for part in parts:
        if part.labels is not None:
            yield f"labels of {part.name or 'the images'} are read from {part.labels.file.name}"
    folders = list(chain(*(part.folders for part in parts)))
    if deep := [child for f in folders for child in f.holding if len(child.holding) > 1]:
        inside = slashed(child.name for child in deep[0].holding)
        yield f"folders below a class are one class: {deep[0].name}/ holds {inside}"
    lists = {part.labels.file for part in parts if part.labels is not None}
    others = [file for folder in folders for file in folder.others() if file not in lists]
    if alike := [file for file in others if _suffix(file) in LOOK_ALIKE]:
        yield f"left out, for Pillow cannot read them: {kinds(alike, root)}"
    if rest := [file for file in others if _suffix(file) not in LOOK_ALIKE]:
        yield f"left out, for they are no images: {kinds(rest, root)}"
    empty = [child for f in folders for child in f.folders if not child.holds_images]
    empty += [f for f in root.folders if not f.holds_images and role_of(f.name) is not None]
    if paths := list(dict.fromkeys(folder.path for folder in empty)):
        yield f"without images: {counted(len(paths), 'folder')} {_names(paths, root)}"


def kinds(files: Sequence[Path], root: Folder) -> str:
    """Return files by suffix, for example "2 .heic, 1 .svg (a/x.heic, a/y.heic, b/z.svg)"."""
    counts = Counter(_suffix(file) or "without a suffix" for file in files)
    by_kind = ", ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common())
    return f"{by_kind} {_names(files, root)}"


def look_alikes(top: Folder) -> list[Path]:
    """Return the files that are images, but not to Pillow."""
    return [file for file in top.others() if _suffix(file) in LOOK_ALIKE]


def unlabelled(part: Part, top: Folder) -> UserError:
    """Build the error for images whose class nothing tells."""
    folder = f"{part.name}/" if part.name else ""
    lists = f"{folder}labels.csv with the columns file_name and label"
    if any(IMAGENET.fullmatch(image.stem) for image in part.loose):
        lists = (
            f"below {top.path} ILSVRC2012_devkit_t12/data/ with its ground truth and meta.mat, or "
            "LOC_val_solution.csv"
        )
    return UserError(
        f"task.source={top.path}: {counted(len(part.loose), 'image')} of {folder or 'it'} in no "
        f"class folders ({part.loose[0].name}, ...), and no list of their labels; expected "
        f"{folder}<class>/<image>, or {lists}"
    )


def counted(count: int, word: str) -> str:
    """Return a number of things, for example "3 images"."""
    return f"{count:,} {word}{'s' * (count != 1)}"


def missing(parts: Sequence[Part], spare: Sequence[Folder], split: str, root: Folder) -> UserError:
    """Build the error for a tree without the split that is needed."""
    hint = f"expected {split}/<class>/<image>"
    if spare:
        hint = f"move the class folders of that split into {root.path / split}"
    beside = f" and beside them {slashed(folder.name for folder in spare)}" if spare else ""
    for folder in root.folders:
        if not folder.holds_images and role_of(folder.name) == role_of(split):
            beside = f"; {folder.name}/ holds no images: {found_in(folder.path)}"
    return UserError(
        f"task.source={root.path}: no split {split}, only {slashed(part.name for part in parts)}"
        f"{beside}; {hint}"
    )


def _suffix(file: Path) -> str:
    return file.suffix.lower()


def _names(files: Sequence[Path], root: Folder) -> str:
    names = [str(file.relative_to(root.path)) for file in files[:3]]
    return f"({', '.join(names)}{', ...' * (len(files) > 3)})"
