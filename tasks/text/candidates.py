"""Which files of a folder are its text: text files or tables, and not what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from moesuite.sources.layout import homes, is_paper, list_files, listed, split_of, suffix_of
from moesuite.sources.tables import is_table
from moesuite.tasks.text.plain import SUFFIXES, Looks, look, no_text

Files = list[Path]


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
    used = sorted(chain(*chosen))
    return Candidates(used, {file: looks[file] for file in used if file in looks})


def _texts(files: Files, expected: str) -> dict[Path, Looks]:
    """Return those that are text by their suffix, or if none is, by their content."""
    if meant := [file for file in files if suffix_of(file) in SUFFIXES]:
        return {file: _looked(file, expected) for file in meant}
    looks = {file: look(file) for file in files}
    return {file: seen for file, seen in looks.items() if not seen.binary}


def _looked(file: Path, expected: str) -> Looks:
    looks = look(file)
    if looks.binary:
        raise no_text(file, looks.binary, expected)
    return looks


def _of_one_kind(tables: Files, texts: Files, folder: Path, declared: Mapping[str, str]) -> Files:
    """Return the tables or the texts: those with splits, else the larger ones."""
    for files in (tables, texts):
        if any(split_of(file, folder, declared.values()) for file in files):
            return files
    return max(tables, texts, key=lambda files: sum(file.stat().st_size for file in files))
