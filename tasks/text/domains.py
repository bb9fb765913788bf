"""Which files of a folder are which text: domains, their splits, and what is cut where none is.

A domain is a folder with splits or files of its own, or a file beside others at the top, or what
stands before or after the split in the names of files (`wiki.train.txt`, `ptb.train.txt`). Names
that differ by a number only are shards of one text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moesuite.sources.fingerprint import content_hashes
from moesuite.sources.layout import COMPRESSED, assign, homes, role_of, split_of, stem_of
from moesuite.sources.roles import scored_split

# of a text without splits, in this order, as is usual for enwik8 and text8
SHARES = {"train": 0.9, "val": 0.05, "test": 0.05}
WHOLE = "whole"  # the role of a text that is cut into train, val and test
MOST = 16  # domains; of more files or folders each is a document
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
    if any(split_of(file, folder, declared.values()) for file in top):
        groups = _grouped([(_beside_split(file), [file]) for file in top])
        each = [assign(members, folder, declared).roles for members in groups.values()]
        if all({"train", "test"} <= roles.keys() for roles in each):
            return groups
        return {"": top}
    return _grouped([(_stem(file), [file]) for file in top] + [*folders.items()])


def _grouped(units: Sequence[tuple[str, Files]]) -> dict[str, Files]:
    """Return the files of units whose names differ by more than a number; under "" if all do not.

    A group of several units is named by what they share.
    """
    groups: dict[str, list[tuple[str, Files]]] = {}
    for name, files in units:
        groups.setdefault(re.sub(r"[-_.]*\d+[-_.]*", "", name), []).append((name, files))
    if not 2 <= len(groups) <= MOST:
        return {"": [file for _, files in units for file in files]}
    return {
        (shared if len(members) > 1 and shared else members[0][0]): [
            file for _, files in members for file in files
        ]
        for shared, members in groups.items()
    }


def _stem(file: Path) -> str:
    """Return the name of a file without format and compression."""
    name = file.stem if file.suffix.lower() in COMPRESSED else file.name
    return Path(name).stem


def _beside_split(file: Path) -> str:
    """Return the name of a file without the word of its split: wiki of wiki.train.txt."""
    words = re.split(r"[-_.]+", stem_of(file))
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
    return Splits(roles, notes=scored_split(assigned.labels, declared))


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
