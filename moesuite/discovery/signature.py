"""Options of a class: names, defaults, types and meanings, read from source without an import.

The parameters of `__init__` are the options. A parameter whose default is a call of a dataclass,
`augmentation: Augmentation = Augmentation()`, stands for the fields of that dataclass: the command
line, configurations and records stay flat, and classes that share options share the dataclass.
Arguments of the call replace defaults: `tokens: Tokens = Tokens(length=128)`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from moesuite.discovery.user_code import broken
from moesuite.errors import UserError, unknown

ENTRY = re.compile(r"(\w+(?:, \w+)*): (.*)")  # of `Args:` or `Attributes:` in a docstring


@dataclasses.dataclass(frozen=True)
class SourceOption:
    """An option as the source of a class declares it.

    Attributes:
        default: a plain value.
        type: the annotation, as written; empty for none.
        meaning: what the docstrings say of it, range included; empty for nothing.
        group: name of the dataclass that declares it; empty for a parameter of the class itself.
        file: where it is declared; types are read with the names of this file.
    """

    default: Any
    type: str = ""
    meaning: str = ""
    group: str = ""
    file: Path = Path()


def signature_options(path: Path, cls: str, skip: int) -> dict[str, SourceOption]:
    """Read the options of a class from its source.

    Args:
        path: the source file.
        cls: name of the class.
        skip: positional parameters to leave out (self, spec).

    Raises:
        UserError: if the file is not Python or has no such class, or a default is not a literal.
    """
    classes = source_classes(path)
    if cls not in classes:
        raise unknown("class", cls, classes, f"{path.stem}:{next(iter(classes), 'MyRouter')}")
    node = classes[cls]
    init = _init_of(node)
    if init is None:
        return {}
    where = f"{path.name}: {cls}.__init__"
    if required := init.args.args[skip : len(init.args.args) - len(init.args.defaults)]:
        names = ", ".join(argument.arg for argument in required)
        raise UserError(f"{where}: every parameter after the spec needs a default: {names}")
    options: dict[str, SourceOption] = {}
    for argument, default in _parameters(init):
        if isinstance(default, ast.Call):
            options |= _group_options(path, default, where)
        else:
            value = _literal(default, where)
            options[argument.arg] = SourceOption(value, _type(argument.annotation), file=path)
    meanings = docstring_meanings(node) | docstring_meanings(init)
    return {
        name: dataclasses.replace(option, meaning=meanings.get(name, option.meaning))
        for name, option in options.items()
    }


def signature_defaults(path: Path, cls: str, skip: int) -> dict[str, Any]:
    """Return the default of each option of a class; see `signature_options`."""
    return {name: option.default for name, option in signature_options(path, cls, skip).items()}


def _init_of(node: ast.ClassDef) -> ast.FunctionDef | None:
    functions = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    return {function.name: function for function in functions}.get("__init__")


def _parameters(init: ast.FunctionDef) -> Iterator[tuple[ast.arg, ast.expr]]:
    """Yield the parameters that have a default, with it."""
    count = len(init.args.defaults)
    if count:
        yield from zip(init.args.args[-count:], init.args.defaults, strict=True)
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if default:
            yield argument, default


def _group_options(path: Path, call: ast.Call, where: str) -> dict[str, SourceOption]:
    """Return the fields of the dataclass that a default calls."""
    options = _fields(path, ast.unparse(call.func), where)
    for keyword in call.keywords:
        if keyword.arg not in options:
            raise UserError(f"{where}: {ast.unparse(call)} has no field {keyword.arg}")
        default = _literal(keyword.value, where)
        options[keyword.arg] = dataclasses.replace(options[keyword.arg], default=default)
    return options


def _fields(path: Path, name: str, where: str) -> dict[str, SourceOption]:
    """Return the fields of a dataclass by its name in a file, those of its bases first."""
    home, node = _definition(path, name, where)
    options: dict[str, SourceOption] = {}
    for base in reversed(node.bases):
        options |= _fields(home, ast.unparse(base), where)
    meanings = docstring_meanings(node)
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value:
            default = _literal(_field_default(item.value), f"{home.name}: {name}")
            meaning = meanings.get(item.target.id, "")
            options[item.target.id] = SourceOption(
                default, _type(item.annotation), meaning, node.name, home
            )
    return options


def _field_default(value: ast.expr) -> ast.expr:
    """Return the literal of `field(default_factory=lambda: literal)`; anything else as it is."""
    if isinstance(value, ast.Call) and value.keywords:
        factory = value.keywords[0].value
        if isinstance(factory, ast.Lambda):
            return factory.body
    return value


def _definition(path: Path, name: str, where: str) -> tuple[Path, ast.ClassDef]:
    """Return the class of a name that a file defines or imports; raises `UserError` for neither."""
    classes = source_classes(path)
    if name in classes:
        return path, classes[name]
    imports = (node for node in parsed(path).body if isinstance(node, ast.ImportFrom))
    for node in imports:
        for alias in node.names:
            if name == (alias.asname or alias.name) and (source := module_file(path, node)):
                return _definition(source, alias.name, where)
    raise UserError(
        f"{where}: {name} is called in a default, but {path.name} neither defines nor imports it; "
        "expected a plain value or a dataclass, e.g. 0.1"
    )


def module_file(path: Path, node: ast.ImportFrom) -> Path | None:
    """Return the file of a module that `path` imports from."""
    module = node.module or ""
    if node.level:
        return path.parents[node.level - 1].joinpath(*module.split(".")).with_suffix(".py")
    spec = importlib.util.find_spec(module)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _literal(default: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(default)
    except ValueError as error:
        raise UserError(f"{where}: defaults have to be plain values ({error})") from None


def _type(annotation: ast.expr | None) -> str:
    return "" if annotation is None else ast.unparse(annotation)


def docstring_meanings(node: ast.ClassDef | ast.FunctionDef) -> dict[str, str]:
    """Return the entries of `Args:` and `Attributes:` of a Google-style docstring, each a line.

    Names of one entry, `mean, std: of each channel`, share its text.
    """
    meanings: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in (ast.get_docstring(node) or "").splitlines():
        text = line.strip()
        if text and not line.startswith(" "):
            inside = text in ("Args:", "Attributes:")
        elif inside and text:
            entry = ENTRY.fullmatch(text) if line.startswith("    ") and line[4] != " " else None
            if entry:
                names, text = entry[1].split(", "), entry[2]
            for name in names:
                meanings[name] = f"{meanings[name]} {text}" if not entry else text
    return meanings


def source_classes(path: Path) -> dict[str, ast.ClassDef]:
    """Return the top-level classes of a file; raises `UserError` for one that is not Python."""
    return {node.name: node for node in parsed(path).body if isinstance(node, ast.ClassDef)}


def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file; raises `UserError` for one that is not Python."""
    return _tree(path, path.stat().st_mtime_ns)


@cache
def _tree(path: Path, _: int) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), path.name)
    except (SyntaxError, ValueError) as error:
        raise broken(path, error) from error


def option_fields(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Return type and default of each option of an imported `__init__`, groups as their fields."""
    hints = inspect.get_annotations(inspect.unwrap(function), eval_str=True)
    fields: dict[str, tuple[Any, Any]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        default = parameter.default
        if _is_group(default):
            types = _group_types(type(default))
            fields |= {key: (types[key], value) for key, value in vars(default).items()}
        elif default is not inspect.Parameter.empty:
            fields[name] = (hints.get(name, Any), default)
    return fields


def call_arguments(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an `__init__` for flat options: those of a group as its dataclass."""
    rest = dict(options)
    groups: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if _is_group(parameter.default):
            keys = [field.name for field in dataclasses.fields(parameter.default)]
            values = {key: rest.pop(key) for key in keys if key in rest}
            groups[name] = dataclasses.replace(parameter.default, **values)
    return rest | groups


def _is_group(default: Any) -> bool:
    return dataclasses.is_dataclass(default) and not isinstance(default, type)


def _group_types(cls: type) -> dict[str, Any]:
    """Return the types of the fields of a dataclass, each read where its class is defined."""
    types: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        types |= inspect.get_annotations(base, eval_str=True)
    return types
