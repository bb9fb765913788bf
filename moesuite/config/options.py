"""Options as they are declared: a value's type and range in words, its check, and its row in `--help`.

A declaration is a pydantic field or an annotated parameter; name, type, range, default and meaning
stand there and nowhere else. No torch, no Hydra.
"""

from __future__ import annotations

import re
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import annotated_types as at
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from moesuite.errors import UserError, nearest

Model = TypeVar("Model", bound=BaseModel)
PLAIN = re.compile(r"(\.{0,2}/)?[A-Za-z_][\w./:-]*", re.ASCII)  # Hydra reads it as text unquoted
NO_TEXT = re.compile(r"null|true|false|[+-]?(inf|nan)", re.IGNORECASE)
NOUNS = {int: "integer", float: "number", str: "text", bool: "true | false", dict: "mapping"}
WIDTH, COLUMN = 100, 34  # of a line of help, and of its first column


class Section(BaseModel):
    """Base of all sections of options: an unknown option is an error, never ignored."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Option:
    """One option as `--help` and shell completion show it.

    Attributes:
        name: dotted, as typed.
        values: its type and range in words; empty if not declared.
        default: as typed; None if there is none.
        meaning: what it does, one line.
        choices: its values, where these are few names.
    """

    name: str
    values: str = ""
    default: str | None = None
    meaning: str = ""
    choices: tuple[str, ...] = ()


def word(value: Any) -> str:
    """Return a value as the command line reads it, in Hydra's grammar.

    Example:
        >>> word([0.1, None, "a, b"])
        "[0.1,null,'a, b']"
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{word(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(word, value))}]"
    text = str(value)
    if not isinstance(value, str) or (PLAIN.fullmatch(text) and not NO_TEXT.fullmatch(text)):
        return text
    # backslashes count before an interpolation (OmegaConf), and before a quote (Hydra), only
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    escaped = re.sub(
        r"(\\*)('|$)", lambda match: 2 * match[1] + ("\\'" if match[2] else ""), literal
    )
    return f"'{escaped}'"


def values_of(annotation: Any, marks: Sequence[Any] = ()) -> str:
    """Return the type and range of a declaration in words.

    Args:
        annotation: a type, possibly `Annotated`.
        marks: what pydantic has moved from the annotation to the field: `Ge`, `Le`, ...

    Example:
        >>> values_of(Annotated[int, at.Ge(1)] | None)
        'integer >= 1 or null'
    """
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        return values_of(annotation, [*marks, *inner])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        several = [values_of(member, marks) for member in arguments if member is not type(None)]
        null = ["null"] if len(several) < len(arguments) else []
        return " or ".join([*several, *null])
    if origin in (list, tuple):
        members = values_of(arguments[0]) if arguments else "values"
        return "list of " + re.sub(r"^(integer|number)", r"\1s", members)
    kind = origin or annotation
    return f"{NOUNS.get(kind, getattr(kind, '__name__', 'text').lower())}{_range(marks)}"


def _range(marks: Iterable[Any]) -> str:
    """Return the bounds among the marks of a declaration, with a leading space."""
    bounds = dict[str, Any]()
    for mark in marks:
        pieces: Iterable[Any] = [mark]
        if isinstance(mark, FieldInfo):  # of a parameter: Annotated[int, Field(ge=1)]
            pieces = mark.metadata
        elif isinstance(mark, at.GroupedMetadata):
            pieces = mark
        for piece in pieces:
            for sign, name in ((">=", "ge"), (">", "gt"), ("<=", "le"), ("<", "lt")):
                if isinstance(piece, at.Ge | at.Gt | at.Le | at.Lt) and hasattr(piece, name):
                    bounds[sign] = getattr(piece, name)
    if set(bounds) == {">=", "<="}:
        return f" {bounds['>=']} to {bounds['<=']}"
    limits = ", ".join(f"{sign} {bound}" for sign, bound in bounds.items())
    return f" {limits}" if limits else ""


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the values of a declaration that has only a few names: literals, true and false, null."""
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if annotation is bool:
        return ("true", "false")
    if annotation is type(None):
        return ("null",)
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return tuple(choice for member in get_args(annotation) for choice in choices_of(member))
    return ()


def options_of(model: type[BaseModel], prefix: str = "") -> list[Option]:
    """Return the options that the fields of a model declare; a field that is a model has inner ones."""
    options = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            options += options_of(field.annotation, f"{prefix}{name}.")
        else:
            options.append(option_of(f"{prefix}{name}", field))
    return options


def option_of(name: str, field: FieldInfo) -> Option:
    """Return the option that a field declares."""
    default = field.get_default(call_default_factory=True) if not field.is_required() else None
    return Option(
        name,
        values_of(field.annotation, field.metadata),
        None if field.is_required() else word(default),
        field.description or "",
        choices_of(field.annotation),
    )


def rows(options: Iterable[Option]) -> str:
    """Return lines of help: name and default, then the meaning with type and range."""
    return "\n".join(
        row(
            option.name if option.default is None else f"{option.name}={option.default}",
            f"{option.meaning} ({option.values})" if option.values else option.meaning,
        )
        for option in options
    )


def row(left: str, text: str) -> str:
    """Return a line of two columns; what is longer goes on below."""
    lines = textwrap.wrap(text, WIDTH - COLUMN, break_long_words=False) or [""]
    first = f"  {left}"
    start = [f"{first:{COLUMN}}{lines.pop(0)}"] if len(first) < COLUMN else [first]
    return "\n".join([*start, *(" " * COLUMN + line for line in lines)]).rstrip()


def checked(
    model: type[Model],
    values: Mapping[str, Any],
    prefix: str = "",
    typed: Callable[[Any], str] | None = None,
) -> Model:
    """Validate `values`.

    Args:
        model: what they have to be.
        values: by name.
        prefix: of their names in errors.
        typed: returns a value as it is typed, for errors; default: in Hydra's grammar.

    Raises:
        UserError: one line for the first value that is wrong: given, expected, and an example.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explained(error, model, values, prefix, typed) from None


def _explained(
    error: ValidationError,
    model: type[BaseModel],
    values: Mapping[str, Any],
    prefix: str,
    typed: Callable[[Any], str] | None,
) -> UserError:
    first = error.errors()[0]
    place, given = _place(first["loc"], values)
    path = ".".join([*([prefix] if prefix else []), *place])
    section, field = _field(model, place)
    if first["type"] == "extra_forbidden":
        options = list(section.model_fields)
        if not options:
            return UserError(f"unknown option {path}: {prefix} has no options of its own")
        return UserError(
            f"unknown option {path}; nearest: {', '.join(nearest(place[-1], options))}"
        )
    if first["type"] == "missing" or field is None:
        return UserError(f"{path}: {first['msg'].lower()}")
    example = field.examples[0] if field.examples else field.get_default(call_default_factory=True)
    hint = f"; type for example {path}={(typed or word)(example)}"
    if field.is_required() and not field.examples:
        hint = ""
    several = len(error.errors()) > 1 and len(place) < len(first["loc"])  # of a union
    expected = values_of(field.annotation, field.metadata)
    message = f"expected {expected}" if several else first["msg"].lower()
    return UserError(f"{path}={(typed or repr)(given)}: {message}{hint}")


def _place(location: Sequence[int | str], values: Any) -> tuple[list[str], Any]:
    """Return the part of pydantic's location that names an option, and its value: unions add to it."""
    place = list[str]()
    for part in location:
        if not isinstance(values, Mapping) or (place and part not in values):
            break
        place.append(str(part))
        values = values.get(part)
    return place, values


def _field(
    model: type[BaseModel], place: Sequence[str]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """Return the innermost section of an option, and its field if there is one."""
    field = None
    for part in place:
        if field is not None:
            if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
                break
            model = field.annotation
        field = model.model_fields.get(part)
        if field is None:
            break
    return model, field
