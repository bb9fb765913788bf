"""Discovery: names on the command line -> classes. Signatures are read from source, so that nothing heavy is imported.

A router's name is its file's name in `moesuite/routers`, or `module.path:Class`, or
`path/to/file.py:Class`, for one outside the package. There is no registry to edit.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path
from typing import Any, Literal

from moesuite.discovery.signature import signature_defaults, source_classes
from moesuite.discovery.user_code import own_class, own_file
from moesuite.errors import UserError, unknown

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "config" / "conf"


def router_names() -> list[str]:
    """Return the names of the routers of the package."""
    return sorted(path.stem for path in (PACKAGE / "routers").glob("[!_]*.py"))


def task_folder() -> Path:
    """Return the folder of the task families."""
    return _folder("moesuite.tasks")


def task_files() -> dict[str, Path]:
    """Return the YAML file of every task of the package by name."""
    return {path.stem: path for path in _files("moesuite.tasks", "**/*.yaml")}


def task_families() -> dict[str, Path]:
    """Return the Python file of every task family of the package by name."""
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


def packaged(kind: Literal["routers", "tasks"], name: str) -> Path | None:
    """Return the file of a router or a task family of the package; None for any other name."""
    if kind == "tasks":
        return task_families().get(name)
    return PACKAGE / "routers" / f"{name}.py" if name in router_names() else None


def source_of(name: str) -> tuple[Path, str | None]:
    """Return the file of a router, and its class where the name says it.

    Raises:
        UserError: for a name that leads to no file.
    """
    if ":" not in name:
        if name not in router_names():
            raise unknown(
                "router",
                name,
                router_names(),
                "router=soft, or router=my_file:MyRouter for your own",
            )
        return PACKAGE / "routers" / f"{name}.py", None
    return own_file("router", name, "my_file:MyRouter")


def router_defaults(name: str) -> dict[str, Any]:
    """Return the options of a router and their defaults."""
    path, cls = source_of(name)
    return signature_defaults(path, cls or contract_class(path, "Router").name, skip=2)


def family_defaults(family: str) -> dict[str, Any]:
    """Return the options of a task family of the package and their defaults."""
    path = task_families()[family]
    return signature_defaults(path, contract_class(path, "Task").name, skip=1)


def load_router(name: str) -> Any:
    """Import the class of a router: the one of its file in the package, or a user's own; see `moesuite.routers`.

    Raises:
        UserError: for an unknown name.
    """
    path, cls = source_of(name)
    if cls is not None:
        return own_class("router", name, "my_file:MyRouter")
    return getattr(
        importlib.import_module(f"moesuite.routers.{path.stem}"),
        contract_class(path, "Router").name,
    )


def load_family(family: str) -> Any:
    """Import the class of a task family: `vision` of the package, or `module:Class`."""
    if ":" in family:
        module_name, _, cls = family.rpartition(":")
        return getattr(importlib.import_module(module_name), cls)
    path = task_families()[family]
    return getattr(
        importlib.import_module(f"moesuite.tasks.{family}.task"), contract_class(path, "Task").name
    )


def contract_class(path: Path, contract: str) -> ast.ClassDef:
    """Return the one class of a file that is a `contract` ("Router", "Task"), from its source.

    Raises:
        UserError: for a file that is no Python, or has none or several of them.
    """
    classes = [
        node
        for node in source_classes(path).values()
        if any(getattr(base, "id", getattr(base, "attr", None)) == contract for base in node.bases)
    ]
    if len(classes) != 1:
        names = ", ".join(node.name for node in classes) or "none"
        raise UserError(
            f"{path.name} has {len(classes)} subclasses of {contract} ({names}); allowed: one in a file; type for "
            f"example class My{contract}({contract})"
        )
    return classes[0]
