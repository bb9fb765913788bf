"""Which data sets of texts are evaluated, where they are, and their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from moesuite.sources.layout import found_in, listed
from moesuite.task import Column, HubSource, Readable, UserError, as_path, unknown
from moesuite.tasks.text.local_copies import LoadedSplit, load_split, local_copy, plain, sets_in

Declared = Mapping[str, str]  # hub, revision, splits, and names of columns
SETS = ("hub", "revision", "splits")  # keys of a set beside the columns that are read


@dataclass(frozen=True)
class TextSets:
    """Data sets of texts, and which of them to evaluate.

    Attributes:
        sets: hub id, revision, splits and names of columns of each data set by name.
        names: data sets to evaluate, declared or in `source`; null: all; of mteb, tasks or a
            benchmark.
        source: a data set as tables, or a folder with one for each data set; for search, of pairs.
        splits: name of the split of each role in all data sets: train, val, test; null: as each
            declares.
    """

    sets: dict[str, dict[str, str]] = field(default_factory=lambda: {})
    names: list[str] | str | None = None
    source: str | None = None
    splits: dict[str, str] | None = None

    @property
    def chosen(self) -> list[str]:
        """Names of the data sets to evaluate: all by default."""
        if isinstance(self.names, str):
            return [self.names]
        return list(self.names or self.sets)


@dataclass(frozen=True)
class LoadedSet:
    """A data set as loaded.

    Attributes:
        name: of the set.
        splits: by role.
        fingerprint: of what was read.
        description: one line for the record.
        notes: sentences for the reader.
    """

    name: str
    splits: Mapping[str, LoadedSplit]
    fingerprint: str
    description: str
    notes: tuple[str, ...]


def load_sets(
    data: TextSets, wanted: Sequence[Column], readable: Readable
) -> tuple[list[LoadedSet], list[str]]:
    """Load the chosen sets, and say what of the source is not used.

    Args:
        data: the sets and where they are.
        wanted: the columns to read.
        readable: what can be read.

    Raises:
        UserError: for a set that is not known or cannot be read, or a column that is missing.
    """
    places, notes = _places(data, readable)
    loaded = []
    for name, place in places.items():
        declared = data.sets.get(name, {})
        columns = _columns(name, declared, wanted)
        roles = declared.get("splits", "train test").split()
        splits = data.splits or {role: role for role in roles}
        hub = HubSource(declared.get("hub"), declared.get("revision"), place)
        source = hub.load(splits, readable=readable)
        for role, rows in source.splits.items():
            _check_names(rows.column_names, columns, f"{name}, split {role}")
        parts = {
            role: load_split(role, rows, f"{name}, split {role}", columns)
            for role, rows in source.splits.items()
        }
        said = [*source.notes, *(note for part in parts.values() for note in part.notes)]
        loaded.append(LoadedSet(name, parts, source.fingerprint, source.description, tuple(said)))
    return loaded, notes


def _columns(name: str, declared: Declared, wanted: Sequence[Column]) -> list[Column]:
    """Return the columns of a set by the names that it declares.

    Raises:
        UserError: for a key of the set that is not known.
    """
    keys = [*SETS, *(column.what for column in wanted)]
    if strange := [key for key in declared if key not in keys]:
        raise unknown(
            f"key of task.sets.{name}", strange[0], keys, f"+task.sets.{name}.{keys[-1]}=<column>"
        )
    return [
        replace(
            column,
            name=declared.get(column.what, ""),
            option=f"{'' if column.what in declared else '+'}task.sets.{name}.{column.what}",
        )
        for column in wanted
    ]


def _check_names(names: Sequence[str], columns: Sequence[Column], where: str) -> None:
    """Raise `UserError` for a declared column of texts or scores that is not there."""
    there = {name.lower() for name in names}
    for column in columns:
        if column.name and column.kind != "label" and column.name.lower() not in there:
            raise UserError(
                f"{where} has no column {column.name!r}; its columns: {listed(names)}; type for "
                f"example {column.option}={names[0]}"
            )


def _places(data: TextSets, readable: Readable) -> tuple[dict[str, str | None], list[str]]:
    """Return where each chosen set is: in the source, or None for its hub id; and what is not."""
    chosen = data.chosen
    if data.source is None:
        if strange := [name for name in chosen if name not in data.sets]:
            hint = f"task.names=[{next(iter(data.sets), strange[0])}]"
            hint += f", or for your own task.source=<folder with a folder {strange[0]}>"
            raise unknown("data set in task.names", strange[0], data.sets, hint)
        return dict.fromkeys(chosen), []
    root = as_path(data.source)
    if not root.exists() and (len(chosen) == 1 or not data.names):  # a hub id
        return {chosen[0] if data.names else root.name: data.source}, []
    if not data.names:
        return _all_sets(data, data.source, readable)
    there = sets_in(data.source) if root.exists() else {}
    places: dict[str, str | None] = {}
    for name in chosen:
        hub = data.sets.get(name, {}).get("hub", name)
        try:
            places[name] = local_copy(data.source, name, hub, only=len(chosen) == 1)
        except UserError:
            if name in data.sets:
                raise
            known = {*data.sets, *there}
            hint = f"task.names=[{next(iter(there), next(iter(data.sets), name))}]"
            raise unknown("data set in task.names", name, known, hint) from None
    return places, []


def _all_sets(
    data: TextSets, source: str, readable: Readable
) -> tuple[dict[str, str | None], list[str]]:
    """Return all sets of a source: those that are declared first, then others by their names."""
    there = sets_in(source)
    if not there:
        root = as_path(source)
        raise UserError(f"task.source={source}: expected {readable.words}; {found_in(root)}")
    aliases = {
        plain(alias): name
        for name, declared in data.sets.items()
        for alias in (name, declared.get("hub", name).split("/")[-1])
    }
    named = {aliases.get(plain(name), name): str(place) for name, place in there.items()}
    order = [*(name for name in data.sets if name in named), *sorted(named.keys() - data.sets)]
    absent = [name for name in data.sets if name not in named]
    notes = []
    if absent and len(absent) < len(data.sets):
        notes.append(f"not in {source}: {listed(absent, 10)}")
    return {name: named[name] for name in order}, notes
