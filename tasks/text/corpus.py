"""Text and its splits; it is read only if its tokens are not cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from moesuite.task import HubSource, UserError
from moesuite.tasks.text.stdlib import read_library

# of one long text, in this order, as is usual for enwik8 and text8
SHARES = {"train": 0.9, "val": 0.05, "test": 0.05}
Documents = Mapping[str, Sequence[bytes]]  # of each role


@dataclass(frozen=True)
class TextSource(HubSource):
    """A text.

    Attributes:
        source: text file, folder of train*.txt and test*.txt, parquet files, or hub id to read
            instead.
        embedded: text of the Python installation, read unless `source` is given: stdlib.
        config: name of the configuration on the hub.
        splits: name of the split of each role: train, val, test.
        column: name of the column of text.
        streaming: tokenise while training, from the hub, nothing on disk; needs trainer.max_steps.
        eval_documents: documents of a stream that are evaluated, the first of its test split, >= 1.
    """

    source: str | None = None
    embedded: Literal["stdlib"] | None = None
    config: str | None = None
    splits: dict[str, str] = field(
        default_factory=lambda: {"train": "train", "val": "validation", "test": "test"}
    )
    column: str = "text"
    streaming: bool = False
    eval_documents: Annotated[int, Ge(1)] = 1000

    @property
    def is_embedded(self) -> bool:
        """Whether the text is the one of the Python installation."""
        return self.embedded is not None and self.source is None


@dataclass(frozen=True)
class Text:
    """A text that can be read.

    Attributes:
        fingerprint: of what is read.
        description: one line for the record.
        how: how it is split; with the fingerprint it determines the documents.
        read: returns the documents of each role.
    """

    fingerprint: str
    description: str
    how: str
    read: Callable[[], Documents]


def read_stdlib() -> Text:
    """Return the source of Python's standard library, split by module."""
    library = read_library({role: SHARES[role] for role in ("test", "val")})
    return Text(library.fingerprint, library.description, "by module", lambda: library.files)


def read_text(data: TextSource) -> Text:
    """Find text files, or a data set with a column of text; see `HubSource.load`.

    Raises:
        UserError: for a source that is missing, empty, not UTF-8, or without the column.
    """
    if data.source is not None:
        path = Path(data.source).expanduser()
        is_parquet = path.suffix == ".parquet" or any(path.glob("**/*.parquet"))
        if path.exists() and not is_parquet:
            return _read_files(path, data.splits)
    loaded = data.load(data.splits, data.config)
    for role, rows in loaded.splits.items():
        check_column(rows, data.column, f"{loaded.description}, split {role}")

    def read() -> Documents:
        documents = {
            role: [text.rstrip("\n").encode() for text in rows[data.column]]
            for role, rows in loaded.splits.items()
        }
        return _with_all_splits(documents, loaded.description)

    how = f"{data.column} {sorted(data.splits.items())} {SHARES}"
    return Text(loaded.fingerprint, loaded.description, how, read)


def check_column(rows: Any, column: str, where: str) -> None:
    """Raise `UserError` if a column is missing, with the columns of the data."""
    columns = rows.column_names or []
    if columns and column not in columns:
        raise UserError(
            f"{where} has no column {column!r}; its columns: {', '.join(columns)}; "
            f"type for example task.column={columns[0]}"
        )


def _read_files(path: Path, splits: Mapping[str, str]) -> Text:
    """Read a text file, or a folder of files whose names begin with the name of their split."""
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
            f"task.source={path} is empty: no text; expected a text file, or a folder of "
            "train*.txt, test*.txt"
        )
    about = f"text of {path.name}"
    return Text(
        f"sha256:{digest.hexdigest()}",
        about,
        f"{roles} {SHARES}",
        lambda: _with_all_splits(documents, about),
    )


def _check_utf8(file: Path, content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file}: not UTF-8 at byte {error.start}; expected UTF-8 text; type for example "
            f"iconv -f latin1 -t utf8 {file.name}"
        ) from None


def _with_all_splits(documents: dict[str, list[bytes]], description: str) -> Documents:
    """Split a text without a test split into 90 % train, 5 % val and 5 % test, in this order."""
    if not documents.get("train"):
        raise UserError(
            f"{description} has no text to train on; expected files named train*.txt beside "
            "test*.txt, or one text file; type for example "
            "task.splits.train=<how their names begin>"
        )
    if "test" not in documents:
        text = b"\n".join(documents["train"])
        ends = np.cumsum([round(len(text) * share) for share in SHARES.values()])
        bounds = [0, *ends[:-1], len(text)]
        documents = {
            role: [text[begin:end]]
            for role, begin, end in zip(SHARES, bounds[:-1], bounds[1:], strict=True)
        }
    for role, texts in documents.items():
        if not any(texts):
            raise UserError(
                f"{description}: split {role} is empty; expected some text in every split"
            )
    return documents
