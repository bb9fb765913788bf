"""Local data sets of a collection: which there are, where each is, and its splits as loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesuite.sources.layout import (
    homes,
    is_paper,
    list_files,
    listed,
    split_of,
    stem_of,
)
from moesuite.sources.tables import is_saved, is_table
from moesuite.task import Column, UserError, as_path, match_columns, note_of

NESTED = "data"  # folder of a data set on the hub that holds its files


@dataclass(frozen=True)
class LoadedSplit:
    """A split of a data set, as loaded.

    Attributes:
        role: train, val or test.
        rows: with `column_names`, and columns by name.
        where: name for messages.
        columns: what -> the column that holds it.
        notes: sentences for the reader: what was taken for what, what is left out.
    """

    role: str
    rows: Any
    where: str
    columns: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def column(self, what: str) -> list[Any]:
        """Return the cells of a column."""
        return list(self.rows[self.columns[what]])


def load_split(role: str, rows: Any, where: str, wanted: Sequence[Column]) -> LoadedSplit:
    """Find the columns of a split, and leave out rows without a text.

    Args:
        role: train, val or test.
        rows: as a source has them.
        where: name of the split for messages.
        wanted: columns to read.

    Raises:
        UserError: for a column that is missing, or without a text in any row.
    """
    if len(rows) == 0:
        raise UserError(f"{where} is empty; expected at least one row")
    matched = match_columns(rows, wanted, where)
    notes = [note_of({what: name for what, name in matched.items() if name != what}, wanted)]
    texts = [matched[column.what] for column in wanted if column.kind == "text"]
    missing = sorted({row for name in texts for row in _missing(rows[name])})
    if len(missing) == len(rows):
        raise UserError(f"{where}: no row has a text in {listed(texts)}; expected text in each row")
    if missing:
        lacking = listed([str(row) for row in missing])
        notes.append(
            f"{where}: {len(missing)} of {len(rows)} rows left out, which lack a text: {lacking}"
        )
        left = {*missing}
        rows = rows.select([row for row in range(len(rows)) if row not in left])
    return LoadedSplit(role, rows, where, matched, tuple(filter(None, notes)))


def _missing(cells: Iterable[Any]) -> list[int]:
    """Return the rows whose cell is missing; empty text is text."""
    return [row for row, cell in enumerate(cells) if cell is None]


def sets_in(source: str) -> dict[str, Path]:
    """Return the place of each data set in a source, by name.

    A file or a folder of splits is one set, called like it; in another folder each folder with
    tables is one, and else each table.
    """
    root = as_path(source)
    if root.is_file():
        return {stem_of(root): root}
    alone = {root.resolve().name: root}
    if is_saved(root):
        return alone
    tables = [file for file in list_files(root) if is_table(file) and not is_paper(file)]
    by_home = homes(tables, root)
    if "" in by_home:
        files = {stem_of(file): file for file in by_home[""]}
        several = 1 < len(files) == len(by_home[""])
        return alone if not several or any(split_of(file, root) for file in tables) else files
    names = sorted({home.split("/")[0] for home in by_home})
    return alone if names == [NESTED] else {name: root / name for name in names}


def local_copy(source: str, name: str, hub: str, only: bool) -> str:
    """Return the folder or file of a data set in `source`, named like the set or its hub id.

    Args:
        source: folder with a folder or a file for each data set, or a single set itself.
        name: name of the set.
        hub: its hub id.
        only: whether it is the only set.

    Raises:
        UserError: if there is none.
    """
    root = as_path(source)
    tail = hub.split("/")[-1]
    places = sorted(root.iterdir()) if root.is_dir() else []
    for wanted in (name, tail):
        if called := [place for place in places if _is_named(place, plain(wanted))]:
            return str(called[0])
    sets = sets_in(source) if root.exists() else {}
    if only and [*sets.values()] == [root]:
        return str(root)
    raise _no_copy(root, sets, (name, tail), only)


def plain(name: str) -> str:
    """Return a name in lower case, without signs: stsb of STS-B."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _is_named(place: Path, name: str) -> bool:
    """Whether a folder, or a table, is called by a plain name."""
    if place.is_dir():
        return plain(place.name) == name
    return is_table(place) and plain(stem_of(place)) == name


def _no_copy(root: Path, sets: Mapping[str, Path], names: tuple[str, str], only: bool) -> UserError:
    content = "no such folder"
    if root.is_dir():
        content = listed(sorted(path.name for path in root.iterdir()), 8) or "empty"
    elif root.exists():
        content = "a file, which is one set"
    wanted = " or ".join(dict.fromkeys(names))
    hint = f"name it {names[0]}"
    if sets and only:
        hint += f", or type for example task.source={next(iter(sets.values()))}"
    elif sets:
        hint += f", or type for example task.names=[{','.join([*sets][:3])}]"
    return UserError(
        f"task.source={root} has no folder {names[0]} ({content}); expected a folder or a table "
        f"(parquet, csv, tsv, jsonl, json, arrow) for each data set, called {wanted}; {hint}"
    )
