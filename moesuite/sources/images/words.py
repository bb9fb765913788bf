"""What is read of an image tree and what is not, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from moesuite.errors import UserError
from moesuite.sources.images.folders import LOOK_ALIKE, Folder, class_images
from moesuite.sources.images.lists import IMAGENET, match
from moesuite.sources.images.split import Part, slashed
from moesuite.sources.layout import found_in
from moesuite.sources.roles import WHOLE, option_of, role_of
from moesuite.sources.tables import is_table

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")


def unused(
    parts: Sequence[Part], used: Sequence[Part], spare: Sequence[Folder], root: Folder
) -> Iterable[str]:
    """Yield a sentence that names the images that are not used."""
    words = [
        f"{part.name}/ ({counted(part.count, 'image')}{'' if part.classes else ' without labels'})"
        for part in parts
        if part not in used and part.name
    ]
    rest = [image for part in parts if part not in used and not part.name for image in part.loose]
    if rest:
        words.append(f"{counted(len(rest), 'image')} in no list {_names(rest, root)}")
    words += [f"{folder.name}/ ({counted(len(folder.images), 'image')})" for folder in spare]
    loose = [*chain(*(part.loose for part in used))]
    if root.path not in [folder.path for part in used for folder in part.folders]:
        loose += root.loose
    if loose:
        words.append(f"{counted(len(loose), 'image')} in no class folder {_names(loose, root)}")
    if words:
        yield f"not used: {', '.join(words)}"


def told(parts: Sequence[Part], top: Folder) -> Iterable[str]:
    """Yield sentences on lists: what is read from them, and what they name that is not there."""
    labels = [(part.name, part.labels) for part in parts if part.labels is not None]
    for name, those in labels:
        what = f"labels of {name or 'the images'} are"
        if those.what != "labels":
            what = f"the split {name} is"
        folders = f", not from {slashed(those.folders)}" if those.folders else ""
        yield f"{what} read from {those.file.name}{folders}"
        if those.ignored:
            values = ", ".join(those.ignored[:3])
            yield f"{those.file.name}: its column of splits ({values}) names none and is not used"
    for file in dict.fromkeys(those.file for _, those in labels):
        absent = [line for _, those in labels for line in those.absent if line.file == file]
        there = {line.name for lines in match(absent, top.images) for line in lines}
        if names := [n for n in dict.fromkeys(line.name for line in absent) if n not in there]:
            first = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
            yield f"{file.name} names {counted(len(names), 'image')} that no file is: {first}"


def beside(parts: Sequence[Part], top: Folder) -> Iterable[str]:
    """Yield a sentence that names archives and lists of splits that are not read."""
    read = {file for part in parts for folder in part.folders for file in folder.others()}
    read |= {part.labels.file for part in parts if part.labels is not None}
    rest = [file for file in top.others() if file not in read and not is_table(file)]
    rest = [file for file in rest if _suffix(file) in ARCHIVES or _lists_splits(file.stem)]
    if rest:
        yield f"not used: {_names(rest, top)[1:-1]}"


def left_out(parts: Sequence[Part], root: Folder) -> Iterable[str]:
    """Yield sentences: folders below classes, files and folders without images."""
    lists = {part.labels.file for part in parts if part.labels is not None}
    by_path = {folder.path: folder for part in parts for folder in part.folders}
    folders = list(by_path.values())
    classes = [f.path for part in parts if not part.by_list for f in part.folders]
    grown = [child for f in folders if f.path in classes for child in f.holding]
    if deep := [
        child for child in grown if len(child.holding) > 1 and child.images == class_images(child)
    ]:
        inside = slashed(child.name for child in deep[0].holding)
        yield f"folders below a class are one class: {deep[0].name}/ holds {inside}"
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
        if not any(folder.holding for part in parts for folder in part.folders):
            hint += f", or, if all of them are classes, type {option_of('train', WHOLE)}"
    beside = f" and beside them {slashed(folder.name for folder in spare)}" if spare else ""
    for folder in root.folders:
        if not folder.holds_images and role_of(folder.name) == role_of(split):
            beside = f"; {folder.name}/ holds no images: {found_in(folder.path)}"
    return UserError(
        f"task.source={root.path}: no split {split}, only {slashed(part.name for part in parts)}"
        f"{beside}; {hint}"
    )


def _lists_splits(stem: str) -> bool:
    return role_of(stem) is not None or "split" in stem.lower()


def _suffix(file: Path) -> str:
    return file.suffix.lower()


def _names(files: Sequence[Path], root: Folder) -> str:
    names = [str(file.relative_to(root.path)) for file in files[:3]]
    return f"({', '.join(names)}{', ...' * (len(files) > 3)})"
