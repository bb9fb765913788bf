"""Text, and how it is split; read only where its tokens are not cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moesuite.task import UserError, load_source
from moesuite.tasks.text.stdlib import read_library

SHARES = {
    "train": 0.9,
    "val": 0.05,
    "test": 0.05,
}  # of one long text, in this order, as is usual for enwik8 and text8


Documents = Mapping[str, Sequence[bytes]]  # of each role


@dataclass(frozen=True)
class Text:
    """Text that can be read.

    Attributes:
        fingerprint: of what is read.
        description: one line for the record.
        how: it is cut into roles: with the fingerprint it determines the documents.
        read: return the documents of each role.
    """

    fingerprint: str
    description: str
    how: str
    read: Callable[[], Documents]


def read_stdlib() -> Text:
    """Return the source of Python's standard library, split by module."""
    library = read_library({role: SHARES[role] for role in ("test", "val")})
    return Text(library.fingerprint, library.description, "by module", lambda: library.files)


def read_text(
    source: str | None,
    hub: str | None,
    revision: str | None,
    config: str | None,
    splits: Mapping[str, str],
    column: str,
) -> Text:
    """Find text files, or a data set with a column of text; see `moesuite.data.source.load_source`.

    Raises:
        UserError: for a source that is missing, empty, not UTF-8, or without the column.
    """
    path = Path(source).expanduser() if source is not None else None
    if (
        path is not None
        and path.exists()
        and path.suffix != ".parquet"
        and not list(path.glob("**/*.parquet"))
    ):
        return _read_files(path, splits)
    loaded = load_source(source, hub, revision, config, splits)
    for role, rows in loaded.splits.items():
        check_column(rows, column, f"{loaded.description}, split {role}")

    def read() -> Documents:
        found = {
            role: [text.rstrip("\n").encode() for text in rows[column]]
            for role, rows in loaded.splits.items()
        }
        return _with_all_splits(found, loaded.description)

    return Text(
        loaded.fingerprint, loaded.description, f"{column} {sorted(splits.items())} {SHARES}", read
    )


def check_column(rows: Any, column: str, where: str) -> None:
    """Raise `UserError` if a data set has no such column, with those that it has."""
    columns = rows.column_names or []
    if columns and column not in columns:
        raise UserError(
            f"{where} has no column {column!r}; its columns: {', '.join(columns)}; type for example "
            f"task.column={columns[0]}"
        )


def _read_files(path: Path, splits: Mapping[str, str]) -> Text:
    """Read one text file, or a folder of files whose names begin with the name of their split."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digest, roles, documents = hashlib.sha256(), list[str](), dict[str, list[bytes]]()
    for file in files:
        content = file.read_bytes()
        _check_utf8(file, content)
        digest.update(hashlib.sha256(content).digest())
        role = next(
            (role for role, name in splits.items() if file.name.startswith((name, role))), "train"
        )
        roles.append(role)
        documents.setdefault(role, []).append(content.rstrip(b"\n"))
    if not any(any(texts) for texts in documents.values()):
        raise UserError(
            f"task.source={path} is empty: no text; allowed: a text file, or a folder of train*.txt, test*.txt"
        )
    about, how = f"text of {path.name}", f"{roles} {SHARES}"
    return Text(
        f"sha256:{digest.hexdigest()}", about, how, lambda: _with_all_splits(documents, about)
    )


def _check_utf8(file: Path, content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file}: not UTF-8 at byte {error.start}; allowed: UTF-8 text; type for example "
            f"iconv -f latin1 -t utf8 {file.name}"
        ) from None


def _with_all_splits(documents: dict[str, list[bytes]], description: str) -> Documents:
    """Cut one text that has no test split into 90 % train, 5 % val and 5 % test, in this order."""
    if not documents.get("train"):
        raise UserError(
            f"{description} has no text to train on; allowed: files named train*.txt beside test*.txt, or one text "
            "file; type for example task.splits.train=<how their names begin>"
        )
    if "test" not in documents:
        text = b"\n".join(documents["train"])
        ends = np.cumsum([round(len(text) * share) for share in SHARES.values()])
        begins = [0, *ends[:-1]]
        documents = {
            role: [text[a:b]]
            for role, a, b in zip(SHARES, begins, [*ends[:-1], len(text)], strict=True)
        }
    for role, texts in documents.items():
        if not any(texts):
            raise UserError(
                f"{description}: split {role} is empty; allowed: some text in every split"
            )
    return documents
