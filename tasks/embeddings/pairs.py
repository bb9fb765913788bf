"""Texts to embed, as read: pairs to find, pairs with a score, texts with a label."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moesuite.task import UserError, load_source, unknown
from moesuite.tasks.text.local_copies import Part, local_copy
from moesuite.tasks.text.stdlib import documented, read_library

SHARES = {"test": 0.1, "val": 0.05}
SCORE_RANGE = (0.0, 5.0)


@dataclass(frozen=True)
class Example:
    """One or two texts.

    Attributes:
        texts: a query and its answer, two texts to compare, or one text.
        target: score of a comparison, number of a class; of pairs to find, a number of their own.
        group: which of several data sets it belongs to.
        scored: False for texts that a probe is fitted on.
    """

    texts: tuple[str, ...]
    target: float
    group: int = 0
    scored: bool = True


@dataclass(frozen=True)
class Reading:
    """Examples of each role, the names of their data sets, the fingerprint of what was read, and one line about it."""

    roles: Mapping[str, list[Example]]
    names: list[str]
    fingerprint: str
    description: str


def read_search(source: str | None) -> Reading:
    """Return pairs to find: of the standard library, or of a source with the columns query and document."""
    if source is None:
        library = read_library(SHARES)
        pairs, fingerprint = documented(library), library.fingerprint
        about = f"docstrings and code of {library.description}"
    else:
        loaded = load_source(
            source, None, None, None, {"train": "train", "val": "validation", "test": "test"}
        )
        fingerprint, about = loaded.fingerprint, loaded.description
        pairs = {
            role: list(
                zip(*map(Part(role, rows, about).column, ("query", "document")), strict=True)
            )
            for role, rows in loaded.splits.items()
        }
    roles = {
        role: [Example(pair, float(row)) for row, pair in enumerate(found)]
        for role, found in pairs.items()
    }
    return Reading(
        roles, [], fingerprint, f"{about}: {len(roles['test'])} queries and documents of test"
    )


def read_scored(
    sets: Mapping[str, Mapping[str, str]], names: Sequence[str], source: str | None, close: float
) -> Reading:
    """Return pairs of sentences with a score of 0 to 5; the training pairs of at least `close` train.

    Raises:
        UserError: for a set that is not known or cannot be read, a column that is missing, or a
            score out of range.
    """

    def read(part: Part) -> list[Example]:
        first, second, scores = map(part.column, ("sentence1", "sentence2", "score"))
        pairs = list(zip(first, second, strict=True))
        values = [_score(score, part.where) for score in scores]
        if part.role != "train":
            return [
                Example(pair, value, part.group) for pair, value in zip(pairs, values, strict=True)
            ]
        return [
            Example(pairs[row], float(row), part.group)
            for row, value in enumerate(values)
            if value >= close
        ]

    return _read_sets(sets, names, source, read)


def read_labelled(
    sets: Mapping[str, Mapping[str, str]], names: Sequence[str], source: str | None
) -> Reading:
    """Return texts with a label; to the test texts come the training texts, on which the probe is fitted.

    Raises:
        UserError: for a set that is not known or cannot be read, a column that is missing, or a
            label out of range.
    """

    def read(part: Part) -> list[Example]:
        declared = part.declared.get("label", "label")
        labels = part.column(declared if declared in part.rows.column_names else "label")
        texts = zip(part.column("text"), labels, strict=True)
        return [Example((text,), _label(label, part.where), part.group) for text, label in texts]

    reading = _read_sets(sets, names, source, read)
    if "train" not in reading.roles:
        raise UserError(
            f"{reading.description}: no training split to fit a probe on; allowed: train and test files"
        )
    for group, name in enumerate(reading.names):
        classes = {
            role: {e.target for e in examples if e.group == group}
            for role, examples in reading.roles.items()
        }
        if unseen := sorted(classes["test"] - classes["train"]):
            raise UserError(
                f"{name}: label {unseen[0]:g} of the test split is out of range: the training split has "
                f"{', '.join(f'{label:g}' for label in sorted(classes['train']))}"
            )
    fitted = [Example(e.texts, e.target, e.group, scored=False) for e in reading.roles["train"]]
    roles = {"train": reading.roles["train"], "test": fitted + reading.roles["test"]}
    return Reading(roles, reading.names, reading.fingerprint, reading.description)


Read = Callable[[Part], list[Example]]


def _read_sets(
    sets: Mapping[str, Mapping[str, str]], names: Sequence[str], source: str | None, read: Read
) -> Reading:
    """Read the named sets, all by default; a set without a training split is one to test on."""
    chosen = list(names) or list(sets)
    roles: dict[str, list[Example]] = {}
    digest, about = hashlib.sha256(), []
    for group, name in enumerate(chosen):
        if name not in sets:
            raise unknown("data set in task.names", name, sets, f"task.names=[{next(iter(sets))}]")
        declared = sets[name]
        splits = {role: role for role in declared.get("splits", "train test").split()}
        folder = (
            None if source is None else local_copy(source, name, declared["hub"], len(chosen) == 1)
        )
        loaded = load_source(folder, declared["hub"], declared.get("revision"), None, splits)
        digest.update(f"{name} {loaded.fingerprint}\n".encode())
        about.append(f"{name} ({loaded.description})")
        for role, rows in loaded.splits.items():
            if len(rows) == 0:
                raise UserError(f"{name}: split {role} is empty; allowed: at least one row")
            part = Part(role, rows, f"{name}, split {role}", group, declared)
            roles.setdefault(role, []).extend(read(part))
    if "train" in roles:
        tested = {(example.group, example.texts) for example in roles["test"]}
        kept = [
            example for example in roles["train"] if (example.group, example.texts) not in tested
        ]
        if left_out := len(roles["train"]) - len(kept):
            about.append(f"{left_out} training examples left out: they stand in the test split too")
        roles["train"] = kept
    return Reading(roles, chosen, f"sha256:{digest.hexdigest()}", "; ".join(about))


def _score(value: Any, where: str) -> float:
    low, high = SCORE_RANGE
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = np.nan
    if not low <= score <= high:
        raise UserError(f"{where}: score {value!r} is out of range; allowed: {low:g} to {high:g}")
    return score


def _label(value: Any, where: str) -> float:
    try:
        label = int(value)
    except (TypeError, ValueError):
        label = -1
    if label < 0:
        raise UserError(f"{where}: label {value!r} is out of range; allowed: 0, 1, ...")
    return float(label)
