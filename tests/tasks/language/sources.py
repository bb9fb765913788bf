"""Small sources of text, and what they are read as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moesuite.tasks.text.corpus import TextSource, read_text

THREE = {"train": 900, "val": 100, "test": 50}


def lines(size: int, letter: str = "a") -> bytes:
    """Return a text of lines of nine letters."""
    return (letter * 9 + "\n").encode() * (size // 10)


def rows(count: int, column: str = "text") -> str:
    """Return JSON lines of texts of five letters, six bytes with the line end."""
    return "".join(json.dumps({"n": n, column: f"{n:05}"}) + "\n" for n in range(count))


def table(count: int, separator: str = ",", column: str = "text") -> bytes:
    cells = [f"{n}{separator}v{n:04}" for n in range(count)]
    return "\n".join([f"n{separator}{column}", *cells]).encode()


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@dataclass
class Case:
    """A source, and the bytes of its splits: line ends after documents count."""

    files: Mapping[str, bytes | str]
    sizes: Mapping[str, int]
    notes: tuple[str, ...] = ()
    about: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


def check(case: Case, folder: Path) -> None:
    """Compare the bytes of a source's splits, its notes and its description with the case."""
    write(folder, case.files)
    text = read_text(TextSource(source=str(folder / case.source), **case.options))
    documents = text.read()
    assert {
        role: sum(len(part) + 1 for part in parts) for role, parts in documents.items()
    } == case.sizes
    assert text.notes == tuple(note.replace("{d}", str(folder)) for note in case.notes)
    assert case.about in text.description
    assert text.fingerprint.startswith("sha256:")
