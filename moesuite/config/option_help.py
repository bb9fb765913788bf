"""Options in words: type, range, default and meaning as declared, and their rows in `--help`.

A declaration is a pydantic field or an annotated parameter. No torch, no Hydra.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from moesuite.config.options import choices_of, is_section, values_of, word

WIDTH, COLUMN = 100, 34  # of a line of help, and of its first column


@dataclass(frozen=True)
class OptionRow:
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


def options_of(model: type[BaseModel], prefix: str = "") -> list[OptionRow]:
    """Return the options that the fields of a model declare, those of its sections included."""
    options = []
    for name, field in model.model_fields.items():
        if is_section(field.annotation):
            options += options_of(field.annotation, f"{prefix}{name}.")
        else:
            options.append(option_of(f"{prefix}{name}", field))
    return options


def option_of(name: str, field: FieldInfo) -> OptionRow:
    """Return the option that a field declares."""
    default = field.get_default(call_default_factory=True) if not field.is_required() else None
    return OptionRow(
        name,
        values_of(field.annotation, field.metadata),
        None if field.is_required() else word(default),
        field.description or "",
        choices_of(field.annotation),
    )


def rows(options: Iterable[OptionRow]) -> str:
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


@dataclass(frozen=True)
class Flag:
    """Marks a bool that is typed as `--name`."""


@dataclass(frozen=True)
class Prefix:
    """Marks a dict that takes every `<prefix><key>=value`; values are YAML unless of str."""

    prefix: str


@dataclass(frozen=True)
class Words:
    """Marks a list that takes words without a value, such as files."""

    noun: str


@dataclass(frozen=True)
class Rest:
    """Marks a list that takes every word that belongs to no other field, as it is."""

    noun: str


def mark_of(field: FieldInfo) -> Flag | Prefix | Words | Rest | None:
    """Return what marks a field that is no `option=value`, or None."""
    return next(
        (mark for mark in field.metadata if isinstance(mark, Flag | Prefix | Words | Rest)), None
    )


def flag_of(name: str) -> str:
    """Return the flag of a field, as typed."""
    return f"--{name.replace('_', '-')}"


def typed(value: Any) -> str:
    """Return a value as it is typed: the parts of a list with commas between."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return word(value) if value is None or isinstance(value, bool) else str(value)


def declared(options: type[BaseModel]) -> list[OptionRow]:
    """Return the options of a command as they are typed."""
    options_typed = []
    for name, field in options.model_fields.items():
        mark, option = mark_of(field), option_of(name, field)
        if isinstance(mark, Flag):
            option = OptionRow(flag_of(name), meaning=option.meaning)
        elif isinstance(mark, Prefix):
            option = OptionRow(f"{mark.prefix}<name>=<value>", meaning=option.meaning)
        elif isinstance(mark, Words | Rest):
            option = OptionRow(f"<{mark.noun}> ...", meaning=option.meaning)
        elif option.default is not None:
            default = typed(field.get_default(call_default_factory=True))
            option = replace(option, default=default)
        options_typed.append(option)
    return options_typed
