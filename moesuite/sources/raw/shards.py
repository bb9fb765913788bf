"""Parts of one split in several files: missing ones, and names of classes that differ."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moesuite.errors import UserError

PART = re.compile(r"(.*?)(\d+)-of-(\d+)(.*)")  # train-00000-of-00002.parquet
POINTER = b"version https://git-lfs."  # how a file begins whose content git-lfs has


def missing_parts(files: Sequence[Path]) -> list[str]:
    """Return a sentence for each set of numbered files that is not whole."""
    numbers: dict[tuple[str, int], set[int]] = {}
    for match in filter(None, (PART.fullmatch(str(file)) for file in files)):
        numbers.setdefault((match[1], int(match[3])), set()).add(int(match[2]))
    return [
        f"{total - len(present)} of {total} files of {Path(stem).name.rstrip('-_.')} are missing"
        for (stem, total), present in numbers.items()
        if len(present) < total
    ]


def is_pointer(file: Path) -> bool:
    """Whether a file is a pointer of git-lfs, whose content was not fetched."""
    with file.open("rb") as stream:
        return stream.read(len(POINTER)) == POINTER


def load_parts(files: Sequence[Path], load: Callable[[Sequence[Path]], Any], stream: bool) -> Any:
    """Return the rows of parquet or Arrow files, classes mapped by name where their order differs.

    Args:
        files: of one split.
        load: reads some of them.
        stream: whether rows are read while training.

    Raises:
        UserError: for classes of other names, and for another order in a stream.
        pyarrow.ArrowException: for a file that is broken.
    """
    import datasets

    declared = [_class_names(file) for file in files]
    if all(names == declared[0] for names in declared):
        return load(files)
    odd = next(place for place, names in enumerate(declared) if names != declared[0])
    same = all(_sorted(names) == _sorted(declared[0]) for names in declared)
    if not same or stream:
        hint = "type task.streaming=false, which maps them by name" if same else "write them anew"
        raise UserError(
            f"{files[0]} and {files[odd].name} name the classes differently: {_words(declared[0])} "
            f"and {_words(declared[odd])}; expected the same in all files of a split; {hint}"
        )
    parts = [load([file]) for file in files]
    columns = parts[0].column_names
    for place, (part, names) in enumerate(zip(parts, declared, strict=True)):
        for column, classes in names.items():
            order = {old: declared[0][column].index(name) for old, name in enumerate(classes)}
            mapped = [order.get(label, label) for label in part[column][:]]
            feature = datasets.ClassLabel(names=declared[0][column])
            part = replaced(part, column, mapped, feature)
        parts[place] = part.select_columns(columns)
    return datasets.concatenate_datasets(parts)


def replaced(rows: Any, name: str, cells: Sequence[Any], feature: Any) -> Any:
    """Return rows with other cells in a column; the column stands last."""
    others = rows.rename_column(name, f"{name} before")  # so that rows keep a column, and number
    added = others.add_column(name, list(cells), feature=feature)
    return added.remove_columns(f"{name} before")


def _class_names(file: Path) -> dict[str, list[str]]:
    """Return the names of the classes of each column that `datasets` wrote as a ClassLabel."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix == ".parquet":
        schema = pq.read_schema(file)
    else:
        with pa.memory_map(str(file)) as content:
            try:
                schema = pa.ipc.open_stream(content).schema
            except pa.ArrowInvalid:
                schema = pa.ipc.open_file(content).schema
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = features.get("info", {}).get("features") or {}
    columns = {name: each for name, each in features.items() if isinstance(each, dict)}
    return {name: each["names"] for name, each in columns.items() if "names" in each}


def _sorted(names: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {column: sorted(classes) for column, classes in names.items()}


def _words(names: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(", ".join(classes) for classes in names.values()) or "none"
