"""Which line of a list is of which image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from moesuite.errors import UserError
from moesuite.sources.images.folders import Folder, is_image
from moesuite.sources.images.listings import MOST_FOLDERS, TRUTH, Entry, read_devkit, read_listing
from moesuite.sources.roles import role_of

IMAGENET = re.compile(r"ILSVRC2012_val_(\d{8})")


@dataclass(frozen=True)
class Labels:
    """What a list says of the images of a split.

    Attributes:
        file: the list.
        of_images: line of each image.
        absent: lines of lists that are of no image of the split.
        what: is read from it: labels, or the split.
        ignored: values of a column of splits that name none.
        folders: of the images, which are no classes.
    """

    file: Path
    of_images: Mapping[Path, Entry]
    absent: Sequence[Entry] = ()
    what: str = "labels"
    ignored: Sequence[str] = ()
    folders: Sequence[str] = ()

    @property
    def names(self) -> set[str]:
        """Names under which the images are listed."""
        return {entry.name for entry in self.of_images.values()}


def find_entries(images: Sequence[Path], top: Folder, role: str | None = None) -> list[Entry]:
    """Return the lines of the nearest list of some of the images; nothing if there is none.

    Lists are looked for beside the images, in the folders above up to `top`, and, for ImageNet's
    devkit, anywhere below `top`. Lists called train.csv, test.csv are read together, each as a
    split.

    Args:
        images: whose labels are looked for.
        top: the source.
        role: what their split is for, by its name: lists for another one are not theirs.

    Raises:
        UserError: for a devkit that is not whole.
    """
    by_path = {folder.path: folder for folder in top.walk()}
    for folder in (by_path[parent] for parent in images[0].parents if parent in by_path):
        lists: dict[str | None, list[Entry]] = {}
        for name in folder.files:
            said = role_of(Path(name).stem)
            if role is not None and said not in (None, role):
                continue
            entries = read_listing(folder.path / name)
            if any(match(entries, images)):
                lists.setdefault(said, entries)
        if lists:
            return _together(lists, images, role)
    if any(IMAGENET.fullmatch(image.stem) for image in images):
        for folder in by_path.values():
            if TRUTH in folder.files:
                return read_devkit(folder)
    return []


def _together(
    lists: Mapping[str | None, list[Entry]], images: Sequence[Path], role: str | None
) -> list[Entry]:
    """Return the lines of lists of one folder, by what their names say: all of several splits."""
    first = next(iter(lists.values()))
    if role is not None or (len(lists) == 1 and all(match(first, images))):
        return first  # of all images, whatever it is called
    named = {said: entries for said, entries in lists.items() if said is not None}
    if None in lists and len(named) < 2:
        return lists[None]
    return [
        entry._replace(split=entry.split or said)
        for said, entries in named.items()
        for entry in entries
    ]


def match(entries: Sequence[Entry], images: Sequence[Path]) -> list[list[Entry]]:
    """Return the lines of each image that say different things; longer names come first."""
    if not entries:
        return [[] for _ in images]
    full: dict[str, list[Entry]] = {}
    stems: dict[str, list[Entry]] = {}
    for entry in entries:
        for table, name in ((full, entry.name), (stems, _stem(entry.name))):
            lines = table.setdefault(name, [])
            if all(line[1:3] != entry[1:3] for line in lines):
                lines.append(entry)
    found: list[list[Entry]] = []
    for image in images:
        names = list(_names(image))[::-1]
        hits = [full[name] for name in names if name in full]
        found.append(next(iter(hits or [stems[n] for n in map(_stem, names) if n in stems]), []))
    return found


def check(images: Sequence[Path], lines: Sequence[Sequence[Entry]]) -> None:
    """Raise `UserError` for a line of two images, and an image of two lines."""
    of_names: dict[tuple[str, Path], Path] = {}
    for image, those in zip(images, lines, strict=True):
        if len(those) > 1:
            labels, splits = {line.label for line in those}, {line.split for line in those}
            kind, said = ("labels", labels) if len(labels) > 1 else ("splits", splits)
            raise UserError(
                f"{those[0].file} has {len(said)} {kind} for {those[0].name} "
                f"({', '.join(sorted(said)[:3])}); expected one for each image"
            )
        for line in those:
            other = of_names.setdefault((line.name, line.file), image)
            if other != image:
                raise UserError(
                    f"{line.file}: {other} and {image} have the same name in it ({line.name}); "
                    "expected the name of each with its folder, for example "
                    f"{image.parent.name}/{image.name}"
                )


def lacking(file: Path, images: Sequence[Path], lines: Sequence[Sequence[Entry]]) -> UserError:
    """Build the error for a list without some of the images."""
    missing = [image.name for image, those in zip(images, lines, strict=True) if not those]
    return UserError(
        f"{file} has no label for {len(missing)} of the {len(images)} images in "
        f"{images[0].parent} ({', '.join(missing[:3])}); expected one for each; add them, or "
        "remove the images"
    )


def _names(image: Path) -> Iterator[str]:
    """Yield the names that an image may have in a list: 1.png, train/1.png, images/train/1.png."""
    name = image.name
    yield name
    for parent in image.parents[:MOST_FOLDERS]:
        name = f"{parent.name}/{name}"
        yield name


def _stem(name: str) -> str:
    """Return the name of an image without suffix."""
    path = PurePosixPath(name)
    return str(path.with_suffix("") if is_image(path.name) else path)
