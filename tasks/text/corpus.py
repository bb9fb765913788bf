"""Text and its splits, from files, tables or the hub; read only if its tokens are not cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from moesuite.sources.fingerprint import fingerprint
from moesuite.sources.layout import (
    found_in,
    is_paper,
    list_files,
    listed,
    role_of,
    stem_of,
    suffix_of,
)
from moesuite.sources.local import from_tables
from moesuite.sources.source import with_test
from moesuite.sources.tables import is_saved, is_table
from moesuite.task import HubSource, Readable, Source, UserError, as_path, note_of
from moesuite.tasks.text.candidates import candidates, check_tests
from moesuite.tasks.text.columns import TEXT, missing_texts, text_column
from moesuite.tasks.text.domains import SHARES, WHOLE, Splits, domains_of, repeated, splits_of
from moesuite.tasks.text.plain import read_plain
from moesuite.tasks.text.stdlib import read_library

TABLES = "tables with a column of text (parquet, csv, tsv, jsonl, json, arrow, save_to_disk)"
READABLE = Readable(f"text files, also .gz, .zst, .bz2 or .xz, or {TABLES}")
STREAMABLE = Readable(f"{TABLES} to stream; without task.streaming=true text files are read too")
# of each role; of a role and a domain, "test/wikipedia", where a text has several domains
Documents = Mapping[str, Sequence[bytes]]


@dataclass(frozen=True)
class TextSource(HubSource):
    """A text.

    Attributes:
        source: text file, folder of text files or tables (train*, valid*, test*; several domains:
            a file or a folder each), or hub id to read instead.
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
        notes: sentences for the reader.
    """

    fingerprint: str
    description: str
    how: str
    read: Callable[[], Documents]
    notes: tuple[str, ...] = ()


def read_stdlib() -> Text:
    """Return the source of Python's standard library, split by module."""
    library = read_library({role: SHARES[role] for role in ("test", "val")})
    return Text(library.fingerprint, library.description, "by module", lambda: library.files)


def read_text(data: TextSource) -> Text:
    """Find text files, or a data set with a column of text; see `HubSource.load`.

    Raises:
        UserError: for a source that is missing, empty, no text, or without the column.
    """
    if data.source is not None:
        path = as_path(data.source)
        if data.config and (path / data.config).is_dir():
            path /= data.config
        if path.is_file() or (path.is_dir() and not is_saved(path)):
            return _read_local(path, data)
    return _of_rows(data.load(data.splits, data.config, readable=READABLE), data)


def _read_local(path: Path, data: TextSource) -> Text:
    """Read a file, or a folder of one or several domains."""
    found = candidates(path, data.splits, READABLE.words)
    if not found.files:
        raise UserError(f"task.source={path}: expected {READABLE.words}; {found_in(path)}")
    folder = path if path.is_dir() else path.parent
    domains = domains_of(found.files, folder, data.splits)
    check_tests(path, [*chain(*domains.values())], data.splits)
    if len(domains) == 1 and is_table(found.files[0]):
        return _of_rows(data.load(data.splits, data.config, readable=READABLE), data)
    splits = {
        name: splits_of(files, folder, data.splits)
        for name, files in domains.items()
        if not is_table(files[0])
    }
    used = [*chain(*(chain(*each.roles.values()) for each in splits.values()))]
    if len(splits) == len(domains) and not any(each.trains for each in splits.values()):
        raise UserError(
            f"task.source={path} has no text to train on, only "
            f"{listed([file.name for file in used])}; expected one text file, or train*.txt "
            "beside valid*.txt and test*.txt; name the text to train on train.txt"
        )
    texts = {}
    for name, files in domains.items():
        if name in splits:
            texts[name] = _of_files(name or path.name, splits[name], folder)
        else:
            rows = with_test(from_tables(folder, files, files, data.splits, False, READABLE))
            rows = replace(rows, description=f"{name}, {rows.description}")
            texts[name] = _of_rows(rows, data)
            used += files
    notes = found.notes()
    rest = {*list_files(path)} - {*used} if path.is_dir() else set()
    if unused := sorted(str(file.relative_to(folder)) for file in rest if not is_paper(file)):
        notes.append(f"not used: {listed(unused)}")
    notes += _better(path)
    text = texts[""] if len(texts) == 1 else _joined(path.name, texts)
    return replace(text, notes=(*text.notes, *notes))


def _better(path: Path) -> list[str]:
    """Return a sentence where a file is cut although other splits stand beside it."""
    if path.is_dir() or role_of(stem_of(path)) is None:
        return []
    beside = [file for file in path.parent.iterdir() if suffix_of(file) == suffix_of(path)]
    names = sorted(file.name for file in beside if role_of(stem_of(file)) in ("val", "test"))
    return [f"not used: {listed(names)}; task.source={path.parent} reads them"] if names else []


def _of_files(name: str, splits: Splits, folder: Path) -> Text:
    """Return the text of plain files."""
    lines = {role: [("", file) for file in files] for role, files in splits.roles.items()}
    whole = fingerprint(lines, folder)
    about = ", ".join(filter(None, [f"text of {name}", splits.how]))

    def read() -> Documents:
        documents: Documents = {
            role: [*map(read_plain, files)] for role, files in splits.roles.items()
        }
        if not any(chain(*documents.values())):
            raise UserError(f"{about} is empty: no text; expected {READABLE.words}")
        if WHOLE in documents:
            documents = _cut(b"\n".join(documents[WHOLE]))
        return _filled(documents, about)

    notes = filter(None, [whole.note, *splits.notes, *repeated(splits.roles, folder)])
    return Text(whole.value, about, f"{SHARES}", read, tuple(notes))


def _of_rows(loaded: Source, data: TextSource) -> Text:
    """Return the text of a column of tables."""
    columns = {
        role: text_column(rows, data.column, f"{loaded.description}, split {role}")
        for role, rows in loaded.splits.items()
    }

    def read() -> Documents:
        documents = {
            role: [(text or "").rstrip("\n").encode() for text in rows[columns[role]]]
            for role, rows in loaded.splits.items()
        }
        return _filled(documents, loaded.description)

    how = f"{columns['train']} {sorted(data.splits.items())} {SHARES}"
    taken = {note_of({"text": name}, [TEXT]) for name in columns.values() if name != data.column}
    missing = missing_texts(loaded.splits, columns)
    notes = (*loaded.notes, *sorted(taken), *missing)
    return Text(loaded.fingerprint, loaded.description, how, read, notes)


def _joined(name: str, texts: Mapping[str, Text]) -> Text:
    """Return several domains as one text, whose splits are evaluated by domain."""
    whole = hashlib.sha256()
    for domain, text in texts.items():
        whole.update(f"{domain} {text.fingerprint}\n".encode())

    def read() -> Documents:
        documents: dict[str, list[bytes]] = {"train": []}
        for domain, text in texts.items():
            for role, part in text.read().items():
                key = role if role == "train" else f"{role}/{domain}"
                documents.setdefault(key, []).extend(part)
        return documents

    return Text(
        f"sha256:{whole.hexdigest()}",
        f"{len(texts)} domains of {name}: {'; '.join(text.description for text in texts.values())}",
        " ".join(sorted({text.how for text in texts.values()})),
        read,
        tuple(f"{domain}: {note}" for domain, text in texts.items() for note in text.notes),
    )


def _cut(text: bytes) -> Documents:
    """Split a text into 90 % train, 5 % val and 5 % test, in this order."""
    ends = np.cumsum([round(len(text) * share) for share in SHARES.values()])
    bounds = [0, *ends[:-1], len(text)]
    return {
        role: [text[begin:end]]
        for role, begin, end in zip(SHARES, bounds[:-1], bounds[1:], strict=True)
    }


def _filled(documents: Documents, about: str) -> Documents:
    """Return the documents; raise `UserError` for a split without text."""
    for role, texts in documents.items():
        if not any(texts):
            raise UserError(f"{about}: split {role} is empty; expected some text in every split")
    return documents
