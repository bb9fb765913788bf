"""Which files of a folder are its text: text files or tables, and not what stands beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from shlex import quote

from moesuite.errors import UserError
from moesuite.sources.layout import (
    COMPRESSED,
    homes,
    is_paper,
    list_files,
    listed,
    role_of,
    split_of,
    stem_of,
    suffix_of,
)
from moesuite.sources.tables import FORMATS, is_table
from moesuite.tasks.text.plain import SUFFIXES, Looks, look, no_text

Files = list[Path]
SCRIPTS = (".sh", ".bash", ".bat", ".cmd", ".ps1", ".pl")  # beside texts, what makes them


@dataclass(frozen=True)
class Candidates:
    """The files of a text.

    Attributes:
        files: text files or tables, sorted; of one kind in each folder at the top.
        looks: what the head of each text file shows.
    """

    files: Files
    looks: Mapping[Path, Looks] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Return how text files are written, where that matters to the reader."""
        wide = [file.name for file, looks in self.looks.items() if looks.encoding]
        windows = [file.name for file, looks in self.looks.items() if looks.windows]
        sentences = {
            "UTF-16 or UTF-32, read as UTF-8": wide,
            "Windows line ends, kept as two bytes each": windows,
        }
        return [f"{sentence}: {listed(names)}" for sentence, names in sentences.items() if names]


def candidates(path: Path, declared: Mapping[str, str], expected: str) -> Candidates:
    """Return the files of a text.

    Args:
        path: a file, or a folder.
        declared: name of each role's split.
        expected: what the family reads, in words.

    Raises:
        UserError: for a file that is meant as text and is none.
    """
    looks: dict[Path, Looks] = {}
    if path.is_file():
        if not is_table(path):
            looks[path] = _looked(path, expected)
        return Candidates([path], looks)
    folders: dict[str, Files] = {}
    files = [file for file in list_files(path) if not is_paper(file)]
    for home, inside in homes(files, path, declared.values()).items():
        folders.setdefault(home.partition("/")[0], []).extend(inside)
    chosen = []
    for inside in folders.values():
        tables = [file for file in inside if is_table(file)]
        texts = _texts([file for file in inside if not is_table(file)], expected)
        looks |= texts
        chosen.append(_of_one_kind(tables, list(texts), path, declared))
    used = _without_copies(sorted(chain(*chosen)))
    if any(suffix_of(file) not in SCRIPTS for file in used):
        used = [file for file in used if suffix_of(file) not in SCRIPTS]
    _check_versions([file for file in used if file in looks], path, declared)
    return Candidates(used, {file: looks[file] for file in used if file in looks})


def _texts(files: Files, expected: str) -> dict[Path, Looks]:
    """Return those that are text by their suffix, or if none is, by their content."""
    if meant := [file for file in files if suffix_of(file) in SUFFIXES]:
        seen = {file: _looked(file, expected) for file in meant}
        return {file: looks for file, looks in seen.items() if not looks.links} or seen
    looks = {file: look(file) for file in files}
    return {file: seen for file, seen in looks.items() if not seen.binary}


def _without_copies(files: Files) -> Files:
    """Return the files without those that are others compressed: train.txt.gz of train.txt."""
    plain = {*files}
    packed = {file for file in files if file.suffix.lower() in COMPRESSED}
    packed = {file for file in packed if file.with_suffix("") in plain}
    return [file for file in files if file not in packed]


def _check_versions(texts: Files, folder: Path, declared: Mapping[str, str]) -> None:
    """Raise `UserError` for two versions of a split, such as wiki.test.raw and wiki.test.tokens."""
    first: dict[Path, Path] = {}
    for file in texts:
        if suffix_of(file) not in SUFFIXES:
            continue
        other = first.setdefault(file.with_name(stem_of(file)), file)
        if suffix_of(other) != suffix_of(file) and split_of(file, folder, declared.values()):
            suffix, place = suffix_of(file), quote(str(file.parent))
            aside = quote(f"{file.parent}{suffix}")
            raise UserError(
                f"task.source={folder}: {other.name} and {file.name} are two versions of a split; "
                f"expected one; type for example mkdir {aside} && mv {place}/*{suffix} {aside}"
            )


def _looked(file: Path, expected: str) -> Looks:
    looks = look(file)
    if looks.binary:
        raise no_text(file, looks.binary, expected)
    return looks


def _of_one_kind(tables: Files, texts: Files, folder: Path, declared: Mapping[str, str]) -> Files:
    """Return the tables or the texts: those with splits, else the larger ones."""

    def roles(files: Files) -> set[str | None]:
        return {role_of(split_of(file, folder, declared.values()) or "") for file in files}

    kind = max(
        tables, texts, key=lambda files: ("train" in roles(files), len(roles(files) - {None}))
    )
    if any(split_of(file, folder, declared.values()) for file in kind):
        return kind
    return max(tables, texts, key=lambda files: (sum(f.stat().st_size for f in files), len(files)))


def check_tests(path: Path, used: Files, declared: Mapping[str, str]) -> None:
    """Raise `UserError` where a file to score would stay aside, and another part be scored.

    Args:
        path: the source.
        used: files that are read.
        declared: name of each role's split.
    """
    if not path.is_dir():
        return

    def role(file: Path) -> str:
        name = split_of(file, path, declared.values()) or ""
        return "test" if name == declared.get("test", "test").lower() else role_of(name) or ""

    if any(role(file) == "test" for file in used):
        return
    others = {file for file in list_files(path) if not is_paper(file)} - {*used}
    kinds = (*SUFFIXES, *FORMATS)
    aside = [file for file in sorted(others) if suffix_of(file) in kinds and role(file) == "test"]
    if not aside:
        return
    beside = next((file for file in used if role(file) == "train"), used[0])
    fix = f"move it to {beside.parent}"
    if suffix_of(aside[0]) != suffix_of(beside):
        fix = f"write it as {suffix_of(beside)}"
    elif aside[0].parent != path and any(role(file) == "train" for file in _near(aside[0], others)):
        fix = f"type for example task.source={quote(str(aside[0].parent))}"
    raise UserError(
        f"task.source={path}: {aside[0].relative_to(path)} is a test split, but not of "
        f"{listed([str(file.relative_to(path)) for file in used], 3)}; expected the splits of one "
        f"text in one folder and one format; {fix}"
    )


def _near(file: Path, files: Iterable[Path]) -> Files:
    return [each for each in files if each.parent == file.parent]
