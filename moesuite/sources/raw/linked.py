"""Images that rows name by the path of a file, instead of holding them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from moesuite.sources.images.folders import is_image
from moesuite.sources.layout import list_files
from moesuite.sources.raw.shards import replaced

STREAM = (
    "images that the rows of a stream name by path are not part of the fingerprint: it stays where "
    "they change"
)


class _Places:
    """Where a path of a cell may lead: beside its table, below the source, from where we are."""

    def __init__(self, tables: Iterable[Path], folder: Path) -> None:
        self.folder = folder
        self.bases = [*dict.fromkeys([*(table.parent for table in tables), folder, Path()])]
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, path: str) -> Path | None:
        """Return the file; of a bare name also the only one of that name below the source."""
        for base in self.bases:
            if (base / path).is_file():
                return base / path
        if "/" in path:
            return None
        if self._by_name is None:
            self._by_name = {}
            for file in list_files(self.folder):
                self._by_name.setdefault(file.name, []).append(file)
        alike = self._by_name.get(path, [])
        return alike[0] if len(alike) == 1 else None


def with_files(
    rows: Mapping[str, Any], tables: Mapping[str, Sequence[Path]], folder: Path
) -> tuple[dict[str, Any], dict[str, list[Path]], list[str]]:
    """Return rows whose cells of images name files that are there, these files, and notes.

    A column of text whose first cell is the path of an image becomes a column of images, if there
    is no other.

    Args:
        rows: of each role.
        tables: of each role, that they were read from.
        folder: of the source.
    """
    changed, files, notes = dict(rows), dict[str, list[Path]](), list[str]()
    for role, part in rows.items():
        if not hasattr(part, "data"):
            notes += [STREAM] * (_names_files(part) and STREAM not in notes)
            continue
        places, links = _Places(tables[role], folder), dict[Path, None]()
        for column, paths in _paths(part, places).items():
            located = [places.find(path) if path else None for path in paths]
            links |= dict.fromkeys(filter(None, located))
            pairs = zip(paths, located, strict=True)
            cells = [path if file is None else str(file) for path, file in pairs]
            changed[role] = _relocated(changed[role], column, cells)
        files[role] = list(links)
    return changed, files if any(files.values()) else {}, notes


def _paths(rows: Any, places: _Places) -> dict[str, list[str | None]]:
    """Return the path of each cell that has no bytes, by column; of others None."""
    import pyarrow.compute as pc

    images = [name for name in rows.column_names if _is_image(rows.features[name])]
    paths = dict[str, list[str | None]]()
    for name in images:
        content, path = (pc.struct_field(rows.data[name], part) for part in ("bytes", "path"))
        if content.null_count:
            cells = pc.if_else(pc.is_null(content), path, None).to_pylist()
            paths |= {name: cells} if any(cells) else {}
    texts = [name for name in rows.column_names if _is_text(rows.features[name]) and not images]
    for name in texts:
        first = next(filter(None, rows[name]), "")
        if is_image(first) and places.find(first):
            return {name: rows[name][:]}
    return paths


def _relocated(rows: Any, name: str, paths: Sequence[str | None]) -> Any:
    """Return rows whose column of images names other files; cells with bytes stay as they are."""
    import datasets

    feature = datasets.Image(decode=False)
    cells: Iterator[Any] = iter([None] * len(paths))
    if _is_image(rows.features[name]):
        cells = iter(rows.select_columns([name]).cast_column(name, feature)[name])
    images = [
        cell if path is None else {"bytes": None, "path": path}
        for cell, path in zip(cells, paths, strict=True)
    ]
    return replaced(rows, name, images, feature)


def _names_files(stream: Any) -> bool:
    """Whether the first row of a stream names the file of an image."""
    import datasets

    features = stream.features or {}
    names = [name for name in features if _is_image(features[name])]
    for name in names:
        stream = stream.cast_column(name, datasets.Image(decode=False))
    first: dict[str, Any] = next(iter(stream), {}) if names else {}
    cells = [cell for name in names if (cell := first.get(name))]
    return any(cell["bytes"] is None and cell["path"] for cell in cells)


def _is_image(feature: Any) -> bool:
    import datasets

    is_struct = isinstance(feature, Mapping) and {"bytes", "path"} <= feature.keys()
    return isinstance(feature, datasets.Image) or is_struct


def _is_text(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")) in ("string", "large_string")
