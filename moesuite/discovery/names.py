"""Names on the command line -> files and classes. Signatures are read from source: no torch.

A router's name is the name of its file in `moesuite/routers`, of an entry point of an installed
package (`moesuite.discovery.plugins`), or `module.path:Class` or `path/to/file.py:Class` for a
user's own. There is no registry to edit.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from moesuite.discovery.plugins import Group, Plugin, clash, plugins, refusal
from moesuite.discovery.signature import SourceOption, signature_options, source_classes
from moesuite.discovery.user_code import own_file
from moesuite.errors import UserError, unknown

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "config" / "conf"


def router_names() -> list[str]:
    """Return the names of all routers: of the package, and of installed plugins."""
    packaged_names = {path.stem for path in (PACKAGE / "routers").glob("[!_]*.py")}
    brought = [name for name in plugins("routers") if plugin_refusal("routers", name) is None]
    return sorted(packaged_names | set(brought))


def plugin_refusal(group: Group, name: str) -> UserError | None:
    """Return why a plugin's router, task family or package of tasks cannot be used, or None."""
    return refusal(group, name, packaged(group, name) is not None)


def task_clash(name: str) -> UserError | None:
    """Return the error for a task that moesuite and a plugin both have, or None."""
    if name not in _packaged_tasks():
        return None
    bringing = (plugin for plugin in _task_packages() if name in plugin.tasks)
    return next((clash(name, plugin) for plugin in bringing), None)


def list_routers() -> list[str]:
    """Return what `router=` and `moefy(model, router=...)` take by name.

    Example:
        >>> "soft" in list_routers()
        True
    """
    return router_names()


def list_tasks() -> list[str]:
    """Return what `task=` takes by name.

    Example:
        >>> "digits" in list_tasks()
        True
    """
    return sorted(task_files())


def task_folder() -> Path:
    """Return the folder of the task families."""
    return _folder("moesuite.tasks")


def task_files() -> dict[str, Path]:
    """Return the YAML file of every task by name: of the package, and of installed plugins."""
    files: dict[str, Path] = {}
    for plugin in _task_packages():
        files |= plugin.tasks
    return files | _packaged_tasks()


@cache
def _packaged_tasks() -> dict[str, Path]:
    return {path.stem: path for path in _files("moesuite.tasks", "**/*.yaml")}


def _task_packages() -> list[Plugin]:
    """Return the plugins that bring YAML files and can be read."""
    return [
        plugin
        for name, plugin in plugins("tasks").items()
        if not plugin.is_class and plugin_refusal("tasks", name) is None
    ]


def task_families() -> dict[str, Path]:
    """Return the Python file of every task family by name: of the package, and of plugins."""
    brought = {
        name: plugin.file
        for name, plugin in plugins("tasks").items()
        if plugin.is_class and plugin_refusal("tasks", name) is None
    }
    return brought | _packaged_families()


@cache
def _packaged_families() -> dict[str, Path]:
    return {path.parent.name: path for path in _files("moesuite.tasks", "*/task.py")}


def benchmark_files() -> dict[str, Path]:
    """Return the YAML file of every benchmark by name."""
    return {path.stem: path for path in _files("moesuite.benchmarks", "*.yaml")}


def _files(package: str, pattern: str) -> list[Path]:
    return sorted(_folder(package).glob(pattern))


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def packaged(kind: Group, name: str) -> Path | None:
    """Return the file of a router or a task family of the package, or None for any other name."""
    if kind == "tasks":
        return _packaged_families().get(name)
    path = PACKAGE / "routers" / f"{name}.py"
    return path if name.isidentifier() and not name.startswith("_") and path.is_file() else None


def source_of(name: str) -> tuple[Path, str | None]:
    """Return the file of a router, and its class where the name or its entry point says it.

    Raises:
        UserError: for a name that leads to no file.
    """
    if ":" in name:
        return own_file("router", name, "my_file:MyRouter")
    if path := packaged("routers", name):
        return path, None
    if refused := plugin_refusal("routers", name):
        raise refused
    if name not in router_names():
        raise unknown(
            "router",
            name,
            router_names(),
            "router=soft, or router=my_file:MyRouter for your own",
        )
    plugin = plugins("routers")[name]
    return plugin.file, plugin.entry.attr or None


def router_defaults(name: str) -> dict[str, Any]:
    """Return the options of a router and their defaults."""
    return {option: declared.default for option, declared in router_options(name).items()}


def router_options(name: str) -> dict[str, SourceOption]:
    """Return the options of a router as its class declares them."""
    path, cls = source_of(name)
    return signature_options(path, cls or contract_class(path, "Router").name, skip=2)


def family_defaults(family: str) -> dict[str, Any]:
    """Return the options of a task family and their defaults."""
    return {option: declared.default for option, declared in family_options(family).items()}


def family_options(family: str) -> dict[str, SourceOption]:
    """Return the options of a task family as its class declares them."""
    return signature_options(*family_class(family), skip=1)


def family_class(family: str) -> tuple[Path, str]:
    """Return the file of a task family and the name of its class."""
    path = task_families()[family]
    if packaged("tasks", family):
        return path, contract_class(path, "Task").name
    return path, plugins("tasks")[family].entry.attr


def summary(path: Path, cls: str | None) -> str:
    """Return what a class of a file is in one line: the first of its docstring, or the file's.

    Args:
        path: the file.
        cls: name of the class; None: the docstring of the file.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), path.name)
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls)
    node: ast.ClassDef | ast.Module = next(classes, tree)
    return (ast.get_docstring(node) or ast.get_docstring(tree) or "").partition("\n")[0]


def contract_class(path: Path, contract: str) -> ast.ClassDef:
    """Return the one class of a file that is a `contract` ("Router", "Task"), from its source.

    Raises:
        UserError: for a file that is not Python, or has none or several of them.
    """
    classes = [
        node
        for node in source_classes(path).values()
        if any(getattr(base, "id", getattr(base, "attr", None)) == contract for base in node.bases)
    ]
    if len(classes) != 1:
        names = ", ".join(node.name for node in classes) or "none"
        raise UserError(
            f"{path.name} has {len(classes)} subclasses of {contract} ({names}); allowed: one in a"
            f" file; type for example class My{contract}({contract})"
        )
    return classes[0]
