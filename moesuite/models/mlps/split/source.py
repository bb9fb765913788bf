"""Source of the methods of a module, parsed."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn

# what builds a module or draws its weights says nothing about its forward
BUILDERS = ("__init__", "init_weights", "_init_weights", "reset_parameters", "_reset_parameters")


@dataclass(frozen=True)
class Method:
    """A method of a module: its syntax tree, and the global names that it sees."""

    tree: ast.FunctionDef
    names: Mapping[str, Any]

    @property
    def this(self) -> str:
        """Name of the module within the method, usually "self"."""
        return self.tree.args.args[0].arg

    @property
    def inputs(self) -> list[str]:
        """Names of its positional arguments."""
        return [argument.arg for argument in self.tree.args.args[1:]]

    @property
    def takes_one(self) -> bool:
        """Whether it has one argument, and no room for others."""
        arguments = self.tree.args
        return len(self.inputs) == 1 and not (
            arguments.vararg or arguments.kwarg or arguments.kwonlyargs
        )


def method(module: nn.Module, name: str) -> Method | None:
    """Return a method that the class of a module adds to `nn.Module`; None without source."""
    kind: Any = type(module)
    return _method(kind, name)


@cache
def _method(kind: Any, name: str) -> Method | None:
    function = getattr(kind, name, None)
    if not inspect.isfunction(function) or function is getattr(nn.Module, name, None):
        return None
    function = inspect.unwrap(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError):
        return None
    if not isinstance(tree, ast.FunctionDef) or not tree.args.args:
        return None
    return Method(tree, function.__globals__)


def method_names(module: nn.Module) -> list[str]:
    """Return the names of the methods that the class of a module adds, but for its builders."""
    kind = type(module)
    bases = kind.__mro__[: kind.__mro__.index(nn.Module)]
    names = [name for base in bases for name, value in vars(base).items() if callable(value)]
    return [
        name
        for name in dict.fromkeys(names)
        if inspect.isfunction(getattr(kind, name)) and name not in BUILDERS
    ]


def uses(module: nn.Module) -> Counter[str]:
    """Count how often the methods of a module name each of its attributes.

    Empty if a method cannot be read: what is used is not known then.
    """
    counts: Counter[str] = Counter()
    for name in method_names(module):
        read = method(module, name)
        if read is None:
            return Counter()
        counts.update(attribute(node, read) for node in ast.walk(read.tree))
    del counts[""]
    return counts


def attribute(node: ast.AST, within: Method) -> str:
    """Return the name of an attribute of the module that a node reads; empty for other nodes."""
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return ""
    return node.attr if node.value.id == within.this else ""
