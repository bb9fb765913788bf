"""Files and folders as people have them: layouts and formats recognised, splits by usual names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from moesuite.errors import UserError
from moesuite.sources.fingerprint import Fingerprint, fingerprint
from moesuite.sources.images.tree import read_image_tree
from moesuite.sources.layout import (
    Assigned,
    assign,
    choose,
    found_in,
    is_paper,
    list_files,
    listed,
    split_of,
    suffix_of,
)
from moesuite.sources.raw.linked import with_files
from moesuite.sources.raw.one_set import (
    at_any_depth,
    check_test,
    of_one_format,
    repeated,
    without_packed,
)
from moesuite.sources.raw.shards import missing_parts
from moesuite.sources.roles import check_declared, said, scored_split
from moesuite.sources.tables import (
    FORMATS,
    is_saved,
    is_table,
    json_splits,
    load_saved,
    read_tables,
    saved_files,
)

TABLES = "tables (parquet, csv, tsv, jsonl, json, arrow, save_to_disk)"


@dataclass(frozen=True)
class Source:
    """Data as read.

    Attributes:
        splits: by role: train, test, and val where there is one.
        fingerprint: of what was read.
        description: one line for the record.
        notes: what a reader has to know, a sentence each: what was taken for what, what is left
            out, what is held out.
        names: of the splits in the source, by role, where they are known.
    """

    splits: Mapping[str, Any]
    fingerprint: str
    description: str
    notes: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, role: str) -> str:
        """Return the name of a split for the reader; of one that is held out its role."""
        name = self.names.get(role)
        return name if name and [*self.names.values()].count(name) == 1 else role


@dataclass(frozen=True)
class Readable:
    """What a family can read, beside ids of the hub.

    Attributes:
        words: the same in words, for errors.
        images: whether image trees and idx files are read.
        val: whether a validation split is used that is not declared.
        test_only: whether a test split will do, without one for training.
    """

    words: str = TABLES
    images: bool = False
    val: bool = True
    test_only: bool = False


TABLES_ONLY = Readable()


def load_local(
    path: Path, declared: Mapping[str, str], config: str | None, streaming: bool, readable: Readable
) -> Source:
    """Read a file or a folder; see `HubSource.load`."""
    folder = path if path.is_dir() else path.parent
    inner = folder / config if config else folder
    if path.is_dir() and inner.is_dir():
        path = folder = inner
    if path.is_dir() and is_saved(path):
        return _from_saved(path, declared, readable)
    files = list_files(path) if path.is_dir() else [path]
    tables = [file for file in files if is_table(file) and not is_paper(file)]
    if readable.images and (source := _from_images(path, tables, declared, readable.val)):
        return source
    if not tables:
        raise UserError(f"task.source={path}: expected {readable.words}; {found_in(path)}")
    return from_tables(folder, tables, files, declared, streaming, readable)


def _from_saved(folder: Path, declared: Mapping[str, str], readable: Readable) -> Source:
    loaded = load_saved(folder)
    chosen = choose(list(loaded), declared, readable.val)
    used = [*chain.from_iterable(chosen.values())]
    whole = fingerprint({"": [("", file) for file in saved_files(folder)]}, folder)
    labels = {role: listed(names) for role, names in chosen.items()}
    notes = [whole.note, *said(labels, declared)]
    if unused := [name for name in loaded if name not in used]:
        notes.append(f"not used: {listed(unused)}")
    rows = _joined(loaded, chosen, folder, declared, readable)
    about = f"data set saved in {folder.name}"
    return Source(rows, whole.value, about, tuple(filter(None, notes)))


def _joined(
    rows: Mapping[str, Any],
    chosen: Mapping[str, Sequence[str]],
    folder: Path,
    declared: Mapping[str, str],
    readable: Readable,
) -> dict[str, Any]:
    """Return the rows of each role."""
    import datasets

    needed = _needed(declared, chosen, readable)
    if needed not in chosen:
        raise UserError(
            f"task.source={folder}: no split {declared[needed]!r} among {listed(list(rows))}; "
            f"type for example task.splits.{needed}={next(iter(rows), 'train')}"
        )
    check_declared(rows, declared, f"task.source={folder}")
    return {
        role: datasets.concatenate_datasets([rows[name] for name in names])
        for role, names in chosen.items()
    }


def _from_images(
    path: Path, tables: Sequence[Path], declared: Mapping[str, str], also_val: bool
) -> Source | None:
    """Read an image tree or idx files; None where there are none, or tables hold the images."""
    if not path.is_dir() or any(suffix_of(file) in (".parquet", ".arrow") for file in tables):
        return None
    tree = read_image_tree(path, declared, also_val, tables=len(tables) > 0)
    if tree is None:
        return None
    whole = fingerprint({role: split.contents for role, split in tree.splits.items()}, path)
    names = {role: split.name for role, split in tree.splits.items()}
    notes = [whole.note, *said(names, declared), *tree.notes]
    if unused := [str(file.relative_to(path)) for file in tables if file not in tree.lists]:
        notes.append(f"tables beside the images are not used: {listed(unused)}")
    rows = {role: split.rows() for role, split in tree.splits.items()}
    about = f"{tree.kind} {path.name}"
    return Source(rows, whole.value, about, tuple(filter(None, notes)), names)


def from_tables(
    folder: Path,
    tables: Sequence[Path],
    files: Sequence[Path],
    declared: Mapping[str, str],
    streaming: bool,
    readable: Readable,
) -> Source:
    """Read the tables of each split in one format; others hold the same, or something else.

    Args:
        folder: the source.
        tables: of one data set.
        files: of the folder, to name those that are not used.
        declared: name of each role's split.
        streaming: read while training, without a copy on disk.
        readable: what the family can read.
    """
    if len(tables) == 1 and suffix_of(tables[0]) == ".json" and (rows := json_splits(tables[0])):
        chosen = choose(list(rows), declared, readable.val)
        whole = fingerprint({"": [("", tables[0])]}, folder)
        roles = _joined(rows, chosen, tables[0], declared, readable)
        scored = tuple(scored_split(chosen, declared))
        return Source(roles, whole.value, f"JSON of {tables[0].name}", scored)
    same = of_one_format(without_packed(tables), folder, declared, FORMATS)
    assigned = _assigned(folder, same, declared, readable)
    check_test(assigned, files, folder, declared, readable.images)
    whole = _hashed(assigned.roles, folder)
    rows = {
        role: read_tables(names, f"{whole.value} {role}", streaming)
        for role, names in assigned.roles.items()
    }
    used = set(chain.from_iterable(assigned.roles.values()))
    formats = dict.fromkeys(suffix_of(file).removeprefix(".") for file in sorted(used))
    told = [*repeated(assigned.roles, folder), *missing_parts(same)]
    if readable.images:
        rows, links, more = with_files(rows, assigned.roles, folder)
        used, told = used.union(*links.values()), [*told, *more]
        if links:
            content = {role: [*assigned.roles[role], *links[role]] for role in links}
            whole = _hashed(content, folder)
    notes = [whole.note, *said(assigned.labels, declared), *told]
    others = [file for file in files if file not in used and not is_paper(file)]
    if unused := [str(file.relative_to(folder)) for file in others]:
        notes.append(f"not used: {listed(unused)}")
    about = f"{', '.join(formats)} files of {folder.name}"
    return Source(rows, whole.value, about, tuple(filter(None, notes)))


def _hashed(roles: Mapping[str, Sequence[Path]], folder: Path) -> Fingerprint:
    names = {role: [("", file) for file in files] for role, files in roles.items()}
    return fingerprint(names, folder)


def _assigned(
    folder: Path, tables: Sequence[Path], declared: Mapping[str, str], readable: Readable
) -> Assigned:
    """Give tables their roles; a lone file, and files that no name calls otherwise, train."""
    tables = at_any_depth(tables, folder, declared)
    assigned = assign(tables, folder, declared, readable.val)
    strays = [file for file in assigned.unused if not split_of(file, folder, declared.values())]
    lacking = "train" if "train" in declared else "test"
    if lacking not in assigned.roles and strays:  # their names say nothing else
        assigned = Assigned(
            {lacking: strays, **assigned.roles},
            {lacking: listed([file.name for file in strays]), **assigned.labels},
        )
    needed = _needed(declared, assigned.roles, readable)
    if needed not in assigned.roles:
        raise UserError(
            f"task.source={folder}: no split {declared[needed]!r} among "
            f"{listed([file.name for file in tables])}; name its file "
            f"{declared[needed]}{suffix_of(tables[0])}"
        )
    names = [split_of(file, folder, declared.values()) for file in tables]
    check_declared(filter(None, names), declared, f"task.source={folder}")
    return assigned


def _needed(declared: Mapping[str, str], roles: Iterable[str], readable: Readable) -> str:
    """Return the role that a source must have: some data sets are for testing only."""
    alone = readable.test_only and "test" in roles
    return "train" if "train" in declared and not alone else "test"
