"""Sections of options: checks, and values in the grammar of the command line. No torch."""

from __future__ import annotations

import re
import shlex
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin

import annotated_types as at
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from moesuite.discovery.annotations import Unknown
from moesuite.discovery.signature import option_fields
from moesuite.errors import GONE, UserError, nearest, refuse_overflow

NOUNS = {int: "integer", float: "number", str: "text", bool: "true | false", dict: "mapping"}
Model = TypeVar("Model", bound=BaseModel)
PLAIN = re.compile(r"(\.{0,2}/)?[A-Za-z_][\w./:-]*", re.ASCII)  # Hydra reads it as text unquoted
NO_TEXT = re.compile(r"null|true|false|[+-]?(inf|nan)", re.IGNORECASE)


class Section(BaseModel):
    """Base of all sections of options: an unknown option is an error, never ignored."""

    model_config = ConfigDict(extra="forbid")


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


def as_path(text: str | Path) -> Path:
    """Return the path that a value names: ~ is the home folder, ~x of no user is a name."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user
        return Path(text)


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
        members = [member for member in arguments if member not in (type(None), Unknown)]
        several = [values_of(member, marks) for member in members]
        null = ["null"] if type(None) in arguments else []
        return " or ".join([*several, *null])
    if annotation is Unknown:
        return ""
    if origin in (list, tuple, Sequence):
        element = values_of(arguments[0]) if arguments else "values"
        return "list of " + re.sub(r"^(integer|number)", r"\1s", element)
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
    """Return the names among the values of a declaration: literals, true, false, null."""
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if annotation is bool:
        return ("true", "false")
    if annotation is type(None):
        return ("null",)
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return tuple(choice for member in get_args(annotation) for choice in choices_of(member))
    return ()


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
        valid = model.model_validate(values)
        refuse_overflow([values, dict(valid)], prefix)  # as given, and where words are numbers
        return valid
    except ValidationError as error:
        raise _explained(error, model, values, prefix, typed) from None


def checked_options(
    function: Callable[..., Any], options: Mapping[str, Any], prefix: str
) -> dict[str, Any]:
    """Check `options` against the options of an `__init__` and return them converted, flat.

    Raises:
        UserError: one line for the first option that is unknown or outside its type or range.
    """
    fields: dict[str, Any] = {
        name: (type_, Field(default=default))
        for name, (type_, default) in option_fields(function).items()
    }
    model = create_model(
        "Options", __config__={"extra": "forbid", "arbitrary_types_allowed": True}, **fields
    )
    valid = checked(model, dict(options), prefix)
    return {key: getattr(valid, key) for key in options}


def _explained(
    error: ValidationError,
    model: type[BaseModel],
    values: Mapping[str, Any],
    prefix: str,
    typed: Callable[[Any], str] | None,
) -> UserError:
    first, several = error.errors()[0], len(error.errors()) > 1
    location = first["loc"][:1] if typed else first["loc"]  # words of a command are flat
    place, value = _place(location, values)
    path = ".".join([*([prefix] if prefix else []), *place])
    section, field = _field(model, place)
    if first["type"] == "extra_forbidden":
        options = list(section.model_fields)
        if not options:
            return UserError(f"unknown option {path}: {prefix} has no options of its own")
        close = ", ".join(nearest(place[-1], options))
        return UserError(GONE.get(path) or f"unknown option {path}; nearest: {close}")
    message, hint = first["msg"].lower(), ""
    if first["type"] == "missing":
        example = (
            f"; type for example {path}={word(field.examples[0])}"
            if field and field.examples
            else ""
        )
        return UserError(f"{path}: {message}{example}")
    if field is not None and several and len(place) < len(first["loc"]):  # of a union
        message = f"expected {values_of(field.annotation, field.metadata)}"
    elif field is not None and is_section(field.annotation):
        name, field = next(iter(field.annotation.model_fields.items()))
        message, hint = f"expected options of {path}", f"{path}.{name}"
    if field is not None and has_example(field):
        example = f"{hint or path}={(typed or word)(example_of(field))}"
        hint = f"; type for example {shlex.quote(example)}"
    return UserError(f"{path}={(typed or repr)(value)}: {message}{hint}")


def _place(location: Sequence[int | str], values: Any) -> tuple[list[str], Any]:
    """Return the part of a location that leads to a value, and the value: unions add a type."""
    place = list[str]()
    for part in location:
        try:
            inner = values[part]
        except (TypeError, KeyError, IndexError):
            if place:
                break
            inner = None  # an option that is missing
        place.append(str(part))
        values = inner
    return place, values


def _field(
    model: type[BaseModel], place: Sequence[str]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """Return the innermost section of an option, and the field that `place` ends at, if any."""
    field = None
    for number, part in enumerate(place, start=1):
        field = model.model_fields.get(part)
        if field is None or (not is_section(field.annotation) and number < len(place)):
            return model, None
        if is_section(field.annotation) and number < len(place):
            model = field.annotation
    return model, field


def is_section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a field holds options of its own."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def has_example(field: FieldInfo) -> bool:
    """Whether a field says what may be typed."""
    return bool(field.examples) or not field.is_required()


def example_of(field: FieldInfo) -> Any:
    """Return a value that a field takes: its example or default."""
    return field.examples[0] if field.examples else field.get_default(call_default_factory=True)
