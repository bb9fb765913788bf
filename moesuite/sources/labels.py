"""Labels as indices of classes: by name where there are names, the same in every split.

A name means the same class in all splits, whatever its number in each of them. The training split
says which classes there are, and their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from moesuite.errors import UserError
from moesuite.sources.raw.classes import check_count, composed, lacking, order_of, shortened

BOOLEANS = ("false", "true")


@dataclass(frozen=True)
class LabelColumn:
    """Labels of a split as a source holds them.

    Attributes:
        values: of each row: names, or integers.
        names: what the integers stand for, where the source says so (a ClassLabel).
    """

    values: Sequence[Any]
    names: Sequence[str] | None = None


@dataclass(frozen=True)
class Labels:
    """Labels as indices of classes.

    Attributes:
        indices: of the class of each row, int64 [N], by the name of the split.
        names: of the classes, in their order.
        notes: what was mapped, a sentence each.
    """

    indices: Mapping[str, np.ndarray]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Read:
    """Labels of a split: numbers, and what they stand for; names of rows are not declared."""

    numbers: np.ndarray
    names: tuple[str, ...] | None = None
    declared: bool = True


def class_labels(columns: Mapping[str, LabelColumn], num_classes: int | None, where: str) -> Labels:
    """Map the labels of all splits to indices of classes.

    Args:
        columns: of each split by its name; the first is the training split, or the only one.
        num_classes: of the task; None: as many as there are.
        where: the source, for errors.

    Raises:
        UserError: for labels that are missing, negative or no classes, for classes that the
            training split lacks, and for another number of classes.
    """
    reads = {name: _read(column, f"{where}, split {name}") for name, column in columns.items()}
    first = next(iter(reads))
    if all(read.names is None for read in reads.values()):
        labels = _of_integers(reads, num_classes, where)
    else:
        labels = _of_names(reads, where)
    train = reads[first]
    is_said = train.names is not None and train.declared
    check_count(labels.names, num_classes, where, None if is_said else len(train.numbers))
    return replace(labels, notes=(*labels.notes, *lacking(labels.indices, labels.names)))


def labels_as_they_are(columns: Mapping[str, LabelColumn]) -> Labels:
    """Return the labels of all splits for a reader: a class for each one that occurs.

    Args:
        columns: of each split by its name.
    """
    words = {
        name: [_word(value, column.names) for value in column.values]
        for name, column in columns.items()
    }
    names = sorted({*chain.from_iterable(words.values())})
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    places = {name: place for place, name in enumerate(names)}
    indices = {
        name: np.array([places[word] for word in part], dtype=np.int64)
        for name, part in words.items()
    }
    return Labels(indices, tuple(names))


def _word(value: Any, names: Sequence[str] | None) -> str:
    is_place = names is not None and isinstance(value, int) and 0 <= value < len(names)
    return str(names[value] if names is not None and is_place else value)


def _of_integers(reads: Mapping[str, _Read], num_classes: int | None, where: str) -> Labels:
    """Map integers without names: 0..n-1 as they are, n others in their order."""
    first, *others = reads
    values = np.unique(reads[first].numbers)
    top, count = int(values[-1]), len(values)
    as_they_are = top + 1 == count if num_classes is None else top < num_classes
    classes = np.arange(top + 1) if as_they_are else values
    for role in others:
        odd = np.flatnonzero(~np.isin(reads[role].numbers, classes))
        if len(odd):
            raise UserError(
                f"{where}, split {role}, row {odd[0]}: label {reads[role].numbers[odd[0]]}, which "
                f"the training split lacks; its labels are {shortened(classes)}"
            )
    indices = {role: np.searchsorted(classes, read.numbers) for role, read in reads.items()}
    names = tuple(map(str, classes))
    return Labels(indices, names, () if as_they_are else (_told(names),))


def _of_names(reads: Mapping[str, _Read], where: str) -> Labels:
    """Map names onto those of the training split; integers beside names are indices of them."""
    first = next(iter(reads))
    given = reads[first]
    if given.names is None:  # integers, whose names another split declares
        given = next(read for read in reads.values() if read.names is not None)
    names, notes = given.names or (), list[str]()
    indices = {}
    for role, read in reads.items():
        place = f"{where}, split {role}"
        if read.names is None:
            if not given.declared:
                raise UserError(
                    f"{place}: labels are integers, of another split names ({shortened(names)}); "
                    "expected the same of all splits"
                )
            _check_range(read.numbers, names, place)
            indices[role] = read.numbers
            notes.append(f"integer labels of split {role} are indices of {shortened(names)}")
            continue
        used = [read.names[number] for number in np.unique(read.numbers)]
        order = order_of(read.names, names, used, place)
        indices[role] = order[read.numbers]
        if read.declared and (order[1:] < order[:-1]).any():
            notes.append(f"labels of split {role} have another order: mapped by name")
    if not given.declared:
        notes.insert(0, _told(names))
    return Labels(indices, names, tuple(notes))


def _told(names: Sequence[str]) -> str:
    return f"labels: {shortened(f'{name} = {place}' for place, name in enumerate(names))}"


def _read(column: LabelColumn, where: str) -> _Read:
    """Return the labels of a split as numbers."""
    values = list(column.values)
    if not values:
        raise UserError(f"{where} is empty: no rows; expected at least one example per split")
    odd = [row for row, value in enumerate(values) if not _is_label(value)]
    if odd and {*map(type, values)} == {float} and not np.isnan(values).any():
        raise UserError(
            f"{where}, row {odd[0]}: label {values[odd[0]]}; expected classes, names or integers "
            ">= 0; what is a number to predict is no class"
        )
    if len(odd) == len(values):
        raise UserError(
            f"{where} has no labels (row 0: {values[0]!r}); expected names or integers >= 0; "
            "if it is published without them, score another split"
        )
    if odd:
        raise UserError(
            f"{where}, row {odd[0]}: label {values[odd[0]]!r}; expected a name or an integer >= 0; "
            "give it one, or remove the row"
        )
    kinds = {type(value) for value in values}
    if str in kinds and len(kinds) > 1:
        raise UserError(f"{where}: labels are names and numbers; expected either names or integers")
    if str in kinds:
        values = [*composed(values)]
        names = tuple(sorted({*values}))
        places = {name: place for place, name in enumerate(names)}
        numbers = np.array([places[value] for value in values], dtype=np.int64)
        return _Read(numbers, names, declared=False)
    read = _Read(np.array(values, dtype=np.int64), None if kinds != {bool} else BOOLEANS)
    if column.names is not None:
        read = replace(read, names=composed(column.names))
        _check_range(read.numbers, column.names, where)
    return read


def _is_label(value: Any) -> bool:
    """Whether a value is a name, or a number of a class."""
    if isinstance(value, str):
        return value != ""
    return isinstance(value, int | float) and value >= 0 and value == value // 1


def _check_range(numbers: np.ndarray, names: Sequence[str], where: str) -> None:
    """Raise `UserError` if a number is no index of the names."""
    if len(odd := np.flatnonzero(numbers >= len(names))):
        raise UserError(
            f"{where}, row {odd[0]}: label {numbers[odd[0]]}; expected 0 to {len(names) - 1}, the "
            f"indices of {shortened(names)}"
        )
