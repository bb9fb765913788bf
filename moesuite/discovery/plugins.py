"""Routers and tasks that other installed packages bring, found by their entry points.

In the `pyproject.toml` of such a package:

    [project.entry-points."moesuite.routers"]
    my_router = "my_package.my_file:MyRouter"

    [project.entry-points."moesuite.tasks"]
    my_family = "my_package.my_task:MyTask"   # a task family, for `defaults: [_my_family]`
    my_tasks = "my_package.data_sets"         # a package: each YAML file in its folder is a task

Nothing of a package is imported before it is used, except the parent packages of these modules. A
plugin that cannot be read, or has a name of moesuite's own, is refused where its name is used;
`moesuite list` says why.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

import yaml

from moesuite.discovery.signature import signature_options
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

    def read(self, group: Group) -> None:
        """Read what the command line needs of it: options of a class, or YAML files.

        Raises:
            UserError: if that fails.
        """
        try:
            if self.is_class:
                skip = {"routers": 2, "tasks": 1}[group]  # self and spec; self
                signature_options(self.file, self.entry.attr, skip)
            else:
                for path in self.tasks.values():
                    yaml.safe_load(path.read_text(encoding="utf-8"))
        except (UserError, OSError, ValueError, yaml.YAMLError) as error:
            raise self._broken(error) from error

    @property
    def tasks(self) -> dict[str, Path]:
        """YAML files of its tasks, by name."""
        return {path.stem: path for path in sorted(self.file.parent.rglob("*.yaml"))}

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
        text = str(error).partition("\n")[0]
        if text.startswith("entry point "):
            return UserError(text)
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        return UserError(f"entry point {self.where}: {kind}{text}")


@cache
def plugins(group: Group) -> Mapping[str, Plugin]:
    """Return the entry points of a group by name; the first of several of one name."""
    named: dict[str, Plugin] = {}
    for entry in entry_points(group=f"moesuite.{group}"):
        named.setdefault(entry.name, Plugin(entry))
    return named


@cache
def refusal(group: Group, name: str, is_packaged: bool) -> UserError | None:
    """Return why a plugin cannot be used, or None: no plugin may stop another one, or the package.

    Args:
        group: of entry points.
        name: of the entry point; for one that nobody brings there is nothing to refuse.
        is_packaged: whether moesuite has a router or task family of this name itself.
    """
    plugin = plugins(group).get(name)
    if plugin is None:
        return None
    if is_packaged:
        return clash(name, plugin)
    for entry in entry_points(group=f"moesuite.{group}", name=name):
        if entry.value != plugin.entry.value:  # one package may be found twice on the path
            return UserError(
                f"entry points of one name in moesuite.{group}: {plugin.where}, "
                f"{Plugin(entry).where}; expected different names; uninstall one of the packages"
            )
    try:
        plugin.read(group)
    except UserError as error:
        return error
    return None


def clash(name: str, plugin: Plugin) -> UserError:
    """Return the error for a name that moesuite and a plugin both have."""
    return UserError(
        f"{name}: moesuite has this name itself, and {plugin.where} brings it too; "
        "expected another name; rename it there, or uninstall the package"
    )
