"""Which files of a folder are which text: domains, their splits, and what is cut where none is.

A domain is a folder with splits or files of its own, or a file beside others at the top, or what
stands before or after the split in the names of files (`wiki.train.txt`, `ptb.train.txt`). Names
that differ by a number only are shards of one text.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

from moesuite.sources.fingerprint import content_hashes
from moesuite.sources.layout import COMPRESSED, assign, homes, listed, role_of, split_of, stem_of
from moesuite.sources.roles import said, spelled

# of a text without splits, in this order, as is usual for enwik8 and text8
SHARES = {"train": 0.9, "val": 0.05, "test": 0.05}
WHOLE = "whole"  # the role of a text that is cut into train, val and test
MOST = 16  # domains; of more files or folders each is a document
HASHED = 1000  # files of a split whose contents are compared
Files = list[Path]


@dataclass(frozen=True)
class Splits:
    """The files of a domain by role.

    Attributes:
        roles: train, val, test -> files; or `WHOLE` -> files of a text that is cut.
        how: how a text without splits gets them, for the reader; else empty.
        notes: sentences for the reader.
    """

    roles: Mapping[str, Files]
    how: str = ""
    notes: Sequence[str] = ()

    @property
    def trains(self) -> bool:
        """Whether there is text to train on."""
        return "train" in self.roles or WHOLE in self.roles


def domains_of(files: Files, folder: Path, declared: Mapping[str, str]) -> dict[str, Files]:
    """Return the files of each domain by its name; files of one text have an empty name.

    Args:
        files: below `folder`, in order.
        folder: the source.
        declared: name of each role's split.
    """
    folders: dict[str, Files] = {}
    for home, inside in homes(files, folder, declared.values()).items():
        folders.setdefault(home.partition("/")[0], []).extend(inside)
    top = folders.pop("", [])
    if not top and len(folders) == 1:
        top = next(iter(folders.values()))
    named = [file for file in top if split_of(file, folder, declared.values())]
    if named:
        more = _completing(named, folders, folder, declared)
        top, named = [*top, *more], [*named, *more]
        groups = _grouped([(_beside_split(file, folder), [file]) for file in named])
        if all(_is_complete(members, folder, declared) for members in groups.values()):
            return groups if len(groups) > 1 else {"": top}
        return {"": top}
    whole = {name for name in folders if _is_complete(folders[name], folder, declared)}
    return _grouped([(_stem(file), [file]) for file in top] + [*folders.items()], whole)


def _is_complete(files: Files, folder: Path, declared: Mapping[str, str]) -> bool:
    """Whether there is a split to train on and one to score."""
    return {"train", "test"} <= assign(files, folder, declared).roles.keys()


def _completing(
    top: Files, folders: Mapping[str, Files], folder: Path, declared: Mapping[str, str]
) -> Files:
    """Return the files of splits of one folder, such as data/test.txt beside train.txt.

    Nothing where the top has a test split, or both have a split of the same role.
    """
    names = {file: split_of(file, folder, declared.values()) for file in top}
    roles = {role_of(name) for name in names.values() if name}
    below = {
        key: [file for file in files if split_of(file, folder, declared.values())]
        for key, files in folders.items()
    }
    below = {key: files for key, files in below.items() if files}
    if len(below) != 1 or {"train", "test"} <= roles:
        return []
    (files,) = below.values()
    others = {role_of(split_of(file, folder, declared.values()) or "") for file in files}
    return [] if roles & others else files


def _grouped(units: Sequence[tuple[str, Files]], whole: Container[str] = ()) -> dict[str, Files]:
    """Return the files of units whose names differ by more than a number; under "" if all do not.

    A group of several units is named by what they share.

    Args:
        units: name and files.
        whole: names of units that are no shards.
    """
    groups: dict[str, list[tuple[str, Files]]] = {}
    for name, files in units:
        key = name if name in whole else re.sub(r"[-_.]*\d+[-_.]*", "", name)
        groups.setdefault(key, []).append((name, files))
    if not 2 <= len(groups) <= MOST:
        return {"": [file for _, files in units for file in files]}
    return {
        _shared(key, [name for name, _ in members]): [
            file for _, files in members for file in files
        ]
        for key, members in groups.items()
    }


def _shared(key: str, names: Sequence[str]) -> str:
    """Return the name of a group: that of all its units, or without the numbers they differ by."""
    return names[0] if len({*names}) == 1 or not key else key


def _stem(file: Path) -> str:
    """Return the name of a file without format and compression."""
    name = file.stem if file.suffix.lower() in COMPRESSED else file.name
    return Path(name).stem


def _beside_split(file: Path, folder: Path) -> str:
    """Return what a file is called without the word of its split: wiki of wiki.train.txt.

    Of one deeper below the folder of its split it is the next folder: pos of train/pos/1.txt.
    """
    parts = file.relative_to(folder).parts[:-1]
    below = [*dropwhile(lambda part: role_of(part) is None, parts)][1:]
    if below:
        return below[0]
    words = re.split(r"[-_.]+", spelled(stem_of(file)))
    if role_of(words[0]) is not None:
        words = words[1:]
    elif role_of(words[-1]) is not None:
        words = words[:-1]
    return ".".join(words)


def splits_of(files: Files, folder: Path, declared: Mapping[str, str]) -> Splits:
    """Return the splits of one text, by the names of its files.

    Args:
        files: of the text.
        folder: the source.
        declared: name of each role's split.
    """
    assigned = assign(files, folder, declared)
    roles, rest = dict(assigned.roles), list(assigned.unused)
    for role, name in declared.items():  # a name of one's own may begin those of several files
        begun = [file for file in rest if file.name.startswith(name)]
        if role not in roles and role_of(name) is None and begun:
            roles[role], rest = begun, [file for file in rest if file not in begun]
    if "train" not in roles and rest:  # their names say nothing else
        roles["train"] = rest
    if "train" in roles and "test" not in roles:
        return _cut(roles["train"], folder)
    return Splits(roles, notes=said(assigned.labels, declared))


def repeated(roles: Mapping[str, Files], folder: Path) -> list[str]:
    """Return a sentence for each role with files of equal content.

    Args:
        roles: files of each.
        folder: the source.
    """
    notes = []
    for files in roles.values():
        if len(files) > HASHED:
            continue
        first: dict[str, Path] = {}
        hashes = content_hashes(files, folder)
        again = [
            f"{file.name} of {first[value].name}"
            for file, value in zip(files, hashes, strict=True)
            if first.setdefault(value, file) != file
        ]
        if again:
            notes.append(f"{len(again):,} files repeat one of their split: {listed(again)}")
    return notes


def _cut(files: Files, folder: Path) -> Splits:
    """Split a text that has no splits: whole files where there are many, else at its end."""
    if len(files) == 1:
        return Splits({WHOLE: files}, "90/5/5 in its order")
    sizes = {file: file.stat().st_size for file in files}
    hashes = dict(zip(files, content_hashes(files, folder), strict=True))
    roles: dict[str, Files] = {role: [] for role in SHARES}
    room = {role: SHARES[role] * sum(sizes.values()) for role in ("test", "val")}
    for file in sorted(files, key=lambda file: (hashes[file], file)):
        role = next((role for role in room if sizes[file] <= room[role]), "train")
        if role in room:
            room[role] -= sizes[file]
        roles[role].append(file)
    if all(roles.values()):
        how = f"{len(files):,} files, whole ones to 90/5/5 by the hash of their contents"
        return Splits({role: sorted(names) for role, names in roles.items()}, how)
    joined = sorted(files, key=_natural)
    return Splits({WHOLE: joined}, f"{len(files)} files joined by name, 90/5/5 in their order")


def _natural(file: Path) -> list[tuple[int, str]]:
    """Return a key that puts part-2 before part-10."""
    pieces = re.findall(r"\d+|\D+", str(file))
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]
