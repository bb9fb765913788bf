"""Routers and tasks that other installed packages bring, found by their entry points.

In the `pyproject.toml` of such a package:

    [project.entry-points."moesuite.routers"]
    my_router = "my_package.my_file:MyRouter"

    [project.entry-points."moesuite.tasks"]
    my_family = "my_package.my_task:MyTask"   # a task family, for `defaults: [_my_family]`
    my_tasks = "my_package.data_sets"         # a package: each YAML file in its folder is a task

Nothing of a package is imported before it is used, except for the parents of a module named here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from moesuite.errors import UserError

Group = Literal["routers", "tasks"]


@dataclass(frozen=True)
class Plugin:
    """An entry point of an installed package."""

    entry: EntryPoint

    @property
    def where(self) -> str:
        """The entry point, for messages."""
        package = self.entry.dist.name if self.entry.dist is not None else "?"
        return f"{self.entry.name} = {self.entry.value} of the package {package}"

    @property
    def is_class(self) -> bool:
        """Whether it names a class; else a package with YAML files."""
        return bool(self.entry.attr)

    @property
    def file(self) -> Path:
        """Source file of its module.

        Raises:
            UserError: if there is none.
        """
        try:
            spec = importlib.util.find_spec(self.entry.module)
        except Exception as error:  # whatever the parents of the module do
            raise self._broken(error) from error
        if spec is None or spec.origin is None:
            raise self._broken(ModuleNotFoundError(f"no source file of {self.entry.module}"))
        return Path(spec.origin)

    def load(self) -> Any:
        """Import it.

        Raises:
            UserError: if that fails.
        """
        try:
            return self.entry.load()
        except Exception as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> UserError:
        return UserError(f"entry point {self.where}: {type(error).__name__}: {error}")


@cache
def plugins(group: Group) -> Mapping[str, Plugin]:
    """Return the entry points of a group by name.

    Raises:
        UserError: for a name that two packages use.
    """
    named: dict[str, Plugin] = {}
    for entry in entry_points(group=f"moesuite.{group}"):
        plugin = Plugin(entry)
        other = named.setdefault(entry.name, plugin)
        if other.entry.value != entry.value:  # one package may be found twice on the path
            raise UserError(
                f"entry points of one name in moesuite.{group}: {other.where}, {plugin.where};"
                " expected different names; uninstall one of the packages"
            )
    return named


def without_clash(kind: str, named: Mapping[str, Plugin], packaged: Iterable[str]) -> list[str]:
    """Return the names of plugins.

    Args:
        kind: router, task or task family, for the error.
        named: the plugins.
        packaged: names of moesuite's own.

    Raises:
        UserError: for a name that moesuite has itself.
    """
    if clashes := sorted(set(named) & set(packaged)):
        raise UserError(
            f"{kind} {clashes[0]}: moesuite has a {kind} of this name, and"
            f" {named[clashes[0]].where} brings another;"
            " expected a name of its own; rename it there or uninstall the package"
        )
    return list(named)
