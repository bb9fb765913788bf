"""Images whose classes or splits a list tells, with or without class folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from moesuite.errors import UserError
from moesuite.sources.images.folders import Folder
from moesuite.sources.images.listings import Entry, read_split_lists
from moesuite.sources.images.lists import Labels, check, find_entries, lacking, match
from moesuite.sources.images.split import Part
from moesuite.sources.roles import role_of


def labelled(part: Part, known: set[str], top: Folder, declared: Mapping[str, str]) -> list[Part]:
    """Return a split with the classes that a list tells, divided if the list tells splits.

    Args:
        part: a split as it lies on disk.
        known: classes of the training split.
        top: the source.
        declared: name of each role's split.

    Raises:
        UserError: for a list that lacks images, says two things, or contradicts class folders.
    """
    images = list(part.loose)
    if part.classes:
        lone = next(iter(part.classes))
        if len(part.classes) > 1 or (lone in known and len(known) > 1):
            return _in_folders(part, top, declared)
        images += part.classes[lone]  # val/images/ is no class if train/ has others
    entries = [entry for entry in find_entries(images, top, role_of(part.name)) if entry.label]
    lines = match(entries, images)
    if not any(lines):
        bare = replace(part, classes={}, loose=images)
        return [part if known.issuperset(part.classes) else bare]
    check(images, lines)
    told = {image: those[0] for image, those in zip(images, lines, strict=True) if those}
    splits = _splits(entries, declared)
    if len(told) < len(images) and not splits:
        raise lacking(entries[0].file, images, lines)
    parts = _divided(_classed(part, told, entries), declared)
    rest = [image for image in images if image not in told]
    return [*parts, Part("", {}, rest, part.folders)] if rest else parts


def _in_folders(part: Part, top: Folder, declared: Mapping[str, str]) -> list[Part]:
    """Return a split of class folders: a list of all its images may say otherwise."""
    folders = {image: name for name, images in part.classes.items() for image in images}
    entries = find_entries(list(folders), top, role_of(part.name))
    told = _unambiguous(entries, list(folders))
    if told and all(entry.label for entry in told.values()):
        part = _overruled(part, folders, told, entries)
    if part.name:
        return [part]
    if len(told) < len(folders) or not _splits(list(told.values()), declared):
        entries = read_split_lists(top)
        told = _unambiguous(entries, list(folders))
    if len(told) < len(folders):
        return [part]
    if part.labels is None:
        part = replace(part, labels=_labels(told, entries, what="the split"))
    return _divided(part, declared)


def _unambiguous(entries: Sequence[Entry], images: Sequence[Path]) -> dict[Path, Entry]:
    """Return the line of each image that has one; nothing if images share a line."""
    lines = match(entries, images)
    told = {image: those[0] for image, those in zip(images, lines, strict=True) if len(those) == 1}
    names = {(entry.name, entry.file) for entry in told.values()}
    return told if len(names) == len(told) else {}


def _overruled(
    part: Part, folders: Mapping[Path, str], told: Mapping[Path, Entry], entries: Sequence[Entry]
) -> Part:
    """Return a split with the classes of a list, unless its folders are classes, too."""
    pairs = {(folders[image], entry.label) for image, entry in told.items()}
    classes, labels = set(folders.values()), {label for _, label in pairs}
    if 2 * len(told) < len(folders) or len(pairs) == len(classes) == len(labels):
        return part  # a list of something else, or of the same classes by other names
    wrong = {(folder, label) for folder, label in pairs if label in classes and label != folder}
    if wrong:
        line = next(told[i] for i in told if (folders[i], told[i].label) in wrong)
        raise UserError(
            f"{line.file} says {line.label} of {line.name}, which lies in another class folder; "
            f"expected one class for each image; mend either, or remove {line.file.name}"
        )
    if len(pairs) <= len(classes):
        return part  # larger classes
    if len(told) < len(folders):
        raise lacking(entries[0].file, list(folders), match(entries, list(folders)))
    return _classed(part, told, entries, sorted(classes))


def _classed(
    part: Part, told: Mapping[Path, Entry], entries: Sequence[Entry], folders: Sequence[str] = ()
) -> Part:
    classes: dict[str, list[Path]] = {}
    for image, entry in told.items():
        classes.setdefault(entry.label, []).append(image)
    labels = _labels(told, entries, folders=folders)
    ordered = {name: classes[name] for name in sorted(classes)}
    return replace(part, classes=ordered, loose=[], labels=labels)


def _labels(
    told: Mapping[Path, Entry],
    entries: Sequence[Entry],
    what: str = "labels",
    folders: Sequence[str] = (),
) -> Labels:
    file = next(iter(told.values())).file
    names = {(entry.name, entry.file) for entry in told.values()}
    absent = [entry for entry in entries if (entry.name, entry.file) not in names]
    return Labels(file, told, absent, what, (), folders)


def _splits(entries: Sequence[Entry], declared: Mapping[str, str]) -> list[str]:
    """Return the splits that lines name; nothing if no name is a usual or a declared one."""
    names = sorted({entry.split for entry in entries if entry.split})
    usual = any(role_of(name) is not None or name in declared.values() for name in names)
    return names if usual else []


def _divided(part: Part, declared: Mapping[str, str]) -> list[Part]:
    """Return the splits that the list of a split names, or the split as it is."""
    assert part.labels is not None
    told = part.labels.of_images
    if not _splits(list(told.values()), declared):
        values = sorted({entry.split for entry in told.values() if entry.split})
        return [replace(part, labels=replace(part.labels, ignored=values))]
    parts: list[Part] = []
    for name in dict.fromkeys(entry.split for entry in told.values()):
        own = {image: entry for image, entry in told.items() if entry.split == name}
        classes = {
            label: [image for image in images if image in own]
            for label, images in part.classes.items()
        }
        classes = {label: images for label, images in classes.items() if images}
        labels = replace(part.labels, of_images=own, file=next(iter(own.values())).file)
        loose = [] if parts else part.loose
        divided = replace(part, name=name or part.name, classes=classes, loose=loose, labels=labels)
        parts.append(divided)
    return parts
