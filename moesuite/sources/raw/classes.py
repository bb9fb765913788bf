"""Names of classes: how many there are, which of them are the same, and how readers are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from unicodedata import normalize

import numpy as np

from moesuite.errors import UserError
from moesuite.sources.layout import role_of

SHOWN = 10  # classes that a note or an error names


def check_count(
    names: Sequence[str], num_classes: int | None, where: str, rows: int | None = None
) -> None:
    """Compare the number of classes with that of the task.

    Args:
        names: of the classes.
        num_classes: of the task; None: any from 2 on.
        where: the source, for errors.
        rows: number of rows that the names were gathered from; None: they are declared.

    Raises:
        UserError: if they differ. It suggests a number only if the names are those of classes.
    """
    if (num_classes is None and len(names) > 1) or len(names) == num_classes:
        return
    count = f"{len(names)} classes ({shortened(names)})"
    if len(names) == 1:
        hint = f"one class ({names[0]}); expected at least two"
    elif all(role_of(name) for name in names):
        hint = f"{count}, which are names of splits; expected <split>/<class>/<image>"
    elif rows is not None and (
        len(names) == rows or (len(names) > SHOWN and 2 * len(names) > rows)
    ):
        hint = f"{count} in {rows} rows; expected classes with several examples each"
    else:
        hint = (
            f"{count}, the task {num_classes}; expected equal counts; "
            f"type for example task.num_classes={len(names)}"
        )
    raise UserError(f"{where} has {hint}")


def order_of(
    names: Sequence[str], reference: Sequence[str], used: Iterable[str], where: str
) -> np.ndarray:
    """Return the index in `reference` of each of the names of a split; -1 for no class.

    Args:
        names: of the split.
        reference: names of the training split.
        used: those of the split's names that examples have; only they have to be classes.
        where: the split, for errors.

    Raises:
        UserError: for names that the training split lacks.
    """
    if strange := sorted({*used} - {*reference}):
        close = {_folded(name) for name in strange} <= {_folded(name) for name in reference}
        why = "; they differ only in capitals or blanks: give them the same" if close else ""
        raise UserError(
            f"{where}: classes that training lacks: {shortened(strange)}; expected some of "
            f"{shortened(reference)}{why}"
        )
    places = {name: place for place, name in enumerate(reference)}
    return np.array([places.get(name, -1) for name in names], dtype=np.int64)


def lacking(indices: Mapping[str, np.ndarray], names: Sequence[str]) -> list[str]:
    """Return a sentence for each split that has no example of some classes.

    Args:
        indices: of the class of each row, int64 [N], by the name of the split.
        names: of the classes.
    """
    lacks = {
        split: [names[place] for place in np.setdiff1d(np.arange(len(names)), part)]
        for split, part in indices.items()
    }
    return [
        f"split {split} has no example of {shortened(missing)}"
        for split, missing in lacks.items()
        if missing
    ]


def one_hot(columns: Mapping[str, Sequence[Any]]) -> tuple[list[str], list[int]]:
    """Return the columns of which each row has exactly one 1 among 0s, and which of them it is.

    Both are empty where there are no such columns.

    Args:
        columns: cells by name.
    """
    flags = {name: cells for name, cells in columns.items() if {*cells} <= {0, 1}}
    table = np.array([*flags.values()], dtype=np.int64)
    if len(flags) < 2 or (table.sum(axis=0) != 1).any():
        return [], []
    return list(flags), table.argmax(axis=0).tolist()


def composed(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in Unicode's composed form: what looks the same is the same on every system."""
    return tuple(normalize("NFC", name) for name in names)


def names_beside(
    numbers: Mapping[str, Sequence[Any]], texts: Mapping[str, Sequence[Any]], where: str
) -> tuple[str, ...] | None:
    """Return the names of classes 0..n-1 by a second column; None where it does not name them.

    Args:
        numbers: labels of each split; the first is the training split.
        texts: what stands beside them.
        where: the source, for errors.

    Raises:
        UserError: for a number with two names.
    """
    names: dict[int, tuple[str, str]] = {}
    for role, labels in numbers.items():
        for row, (label, text) in enumerate(zip(labels, texts[role], strict=True)):
            if type(label) is not int or not isinstance(text, str):
                return None
            place = f"split {role}, row {row}"
            first, at = names.setdefault(label, (text, place))
            if first != text:
                raise UserError(
                    f"{where}, {place}: label {label} is called {text!r}, and {first!r} in {at}; "
                    "expected one name for each label; correct them, or remove the column of names"
                )
    there = [*range(len(names))]
    distinct = {name for name, _ in names.values()}
    if sorted({*next(iter(numbers.values()))}) != there or len(distinct) != len(there):
        return None
    return tuple(names[number][0] for number in there)


def shortened(names: Iterable[Any]) -> str:
    """Return the first names, and how many there are in all if these are not all.

    Names with blanks at an end are quoted: else nobody sees them.
    """
    words = [repr(name) if name != name.strip() else name for name in map(str, names)]
    more = f", ... ({len(words)} in all)" if len(words) > SHOWN else ""
    return f"{', '.join(words[:SHOWN])}{more}"


def _folded(name: str) -> str:
    return name.strip().casefold()
