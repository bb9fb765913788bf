"""Annotations of source files as types, without importing the files.

An annotation is evaluated with the names of `typing`, `annotated_types` and Python's own types, and
with the aliases that its file defines or imports from moesuite or relatively, such as
`Weight = Annotated[float, Ge(0)]`. Any other name is `Unknown`.
"""

from __future__ import annotations

import ast
import builtins
import importlib
from pathlib import Path
from typing import Any

from moesuite.discovery.signature import module_file, parsed

TYPES = ("bool", "dict", "float", "int", "list", "str", "tuple")
LIGHT = ("annotated_types", "collections.abc", "typing")  # modules that are imported for a name


class Unknown:
    """A type that is not known here."""


class _Scope(dict[str, Any]):
    """Names of a file, looked up when they are needed."""

    def __init__(self, path: Path) -> None:
        super().__init__({name: getattr(builtins, name) for name in TYPES})
        self._path = path

    def __missing__(self, name: str) -> Any:
        for node in parsed(self._path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return evaluated(ast.unparse(node.value), self._path)
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return self._imported(node, alias.name)
        return Unknown

    def _imported(self, node: ast.ImportFrom, name: str) -> Any:
        if node.module in LIGHT:
            return getattr(importlib.import_module(node.module), name)
        if not node.level and not (node.module or "").startswith("moesuite."):
            return Unknown  # to find another package's module, Python would import its parents
        path = module_file(self._path, node)
        return Unknown if path is None else _Scope(path)[name]


def evaluated(annotation: str, path: Path) -> Any:
    """Return the type that an annotation of a file means; `Unknown` if it cannot be read.

    Example:
        >>> evaluated("int | None", Path(__file__))
        int | None
    """
    try:
        return eval(annotation, {"__builtins__": {}}, _Scope(path))
    except Exception:  # whatever stands there: help goes without a type
        return Unknown
