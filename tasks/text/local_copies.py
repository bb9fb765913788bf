"""Local copies of the data sets of a collection, and their splits as loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moesuite.task import UserError


@dataclass(frozen=True)
class LoadedSplit:
    """A split of a data set, as loaded.

    Attributes:
        role: train, val or test.
        rows: with `column_names`, and columns by name.
        where: name for messages.
        group: index of its data set among several.
        declared: declaration of the set: hub, revision, splits, label.
    """

    role: str
    rows: Any
    where: str
    group: int = 0
    declared: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> list[Any]:
        """Return a column.

        Raises:
            UserError: if it is missing, with the columns of the data.
        """
        if name not in self.rows.column_names:
            columns = ", ".join(self.rows.column_names)
            raise UserError(
                f"{self.where} has no column {name!r}; its columns: {columns}; rename one to {name}"
            )
        return list(self.rows[name])


def local_copy(source: str, name: str, hub: str, only: bool) -> str:
    """Return the folder of a data set in `source`, named like the set or its hub id.

    Args:
        source: folder with a folder for each data set; parquet files will do for a single set.
        name: name of the set.
        hub: its hub id.
        only: whether it is the only set.

    Raises:
        UserError: if there is no such folder.
    """
    root = Path(source).expanduser()
    wanted = {_plain(name), _plain(hub.split("/")[-1])}
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder.is_dir() and _plain(folder.name) in wanted:
            return str(folder)
    if only and any(root.glob("*.parquet")):
        return source
    content = "no such folder"
    if root.is_dir():
        content = ", ".join(sorted(path.name for path in root.iterdir())[:8])
    raise UserError(
        f"task.source={source} has no folder {name} ({content}); expected a folder of parquet "
        f"files for each data set, named {name} or {hub.split('/')[-1]}; or choose by task.names="
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
