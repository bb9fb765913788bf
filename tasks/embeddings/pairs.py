"""Texts to embed: pairs for search, pairs with a score, texts with a label."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moesuite.task import HubSource, UserError, unknown
from moesuite.tasks.text.local_copies import LoadedSplit, local_copy
from moesuite.tasks.text.stdlib import documented, read_library

SHARES = {"test": 0.1, "val": 0.05}
SCORE_RANGE = (0.0, 5.0)


@dataclass(frozen=True)
class TextSets:
    """Data sets of texts, and which of them to evaluate.

    Attributes:
        sets: hub id, revision, splits and column of labels of each data set by name.
        names: data sets to evaluate; null: all; of mteb, tasks or a benchmark.
        source: folder of local copies, a folder for each data set; for search, of parquet files.
    """

    sets: dict[str, dict[str, str]] = field(default_factory=lambda: {})
    names: list[str] | str | None = None
    source: str | None = None

    @property
    def chosen(self) -> list[str]:
        """Names of the data sets to evaluate: all by default."""
        if isinstance(self.names, str):
            return [self.names]
        return list(self.names or self.sets)


@dataclass(frozen=True)
class Example:
    """One or two texts.

    Attributes:
        texts: a query and its answer, two texts to compare, or one text.
        target: score of a comparison, index of a class, or index of a pair for search.
        group: index of its data set among several.
        scored: whether it is scored; False for texts that a probe is fitted on.
        number: its place among the examples of its role.
    """

    texts: tuple[str, ...]
    target: float
    group: int = 0
    scored: bool = True
    number: int = 0

    @property
    def content(self) -> bytes:
        """Its texts, by which duplicates are found."""
        return "\0".join(self.texts).encode()


@dataclass(frozen=True)
class Reading:
    """Examples as read.

    Attributes:
        roles: examples of each role.
        names: of the data sets, by group.
        fingerprint: of what was read.
        description: one line for the record.
        sizes: scored examples of each data set, where another program reads them; else None.
    """

    roles: Mapping[str, list[Example]]
    names: list[str]
    fingerprint: str
    description: str
    sizes: Mapping[str, int] | None = None

    def scored(self, name: str) -> int:
        """Return the number of scored examples of a data set; of all for any other name."""
        if self.sizes is not None:
            return self.sizes.get(name, sum(self.sizes.values()))
        group = self.names.index(name) if name in self.names else None
        return sum(e.scored and group in (None, e.group) for e in self.roles["test"])


def read_examples(kind: str, data: TextSets, close: float) -> Reading:
    """Return the texts of a kind of evaluation: search, similarity or classification.

    Raises:
        UserError: for data that cannot be read, or a split without examples.
    """
    if kind == "search":
        reading = read_search(data.source)
    elif kind == "similarity":
        reading = read_scored(data, close)
    else:
        reading = read_labelled(data)
    if not reading.roles.get("train", True) or not reading.roles["test"]:
        raise UserError(
            f"{reading.description}: a split is empty; expected at least one example in each"
        )
    return reading


def read_search(source: str | None) -> Reading:
    """Return pairs for search: of the standard library, or of the columns query and document."""
    if source is None:
        library = read_library(SHARES)
        pairs, fingerprint = documented(library), library.fingerprint
        about = f"docstrings and code of {library.description}"
    else:
        splits = {"train": "train", "val": "validation", "test": "test"}
        loaded = HubSource(source=source).load(splits)
        fingerprint, about = loaded.fingerprint, loaded.description
        pairs = {}
        for role, rows in loaded.splits.items():
            part = LoadedSplit(role, rows, about)
            pairs[role] = list(zip(part.column("query"), part.column("document"), strict=True))
    roles = {
        role: [Example(pair, float(row)) for row, pair in enumerate(role_pairs)]
        for role, role_pairs in pairs.items()
    }
    about = f"{about}: {len(roles['test'])} queries and documents of test"
    return Reading(roles, [], fingerprint, about)


def read_scored(data: TextSets, close: float) -> Reading:
    """Return pairs of sentences with a score of 0 to 5; pairs of at least `close` train.

    Raises:
        UserError: for a set that is not known or cannot be read, a column that is missing, or a
            score out of range.
    """

    def read(part: LoadedSplit) -> list[Example]:
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

    return _read_sets(data, read)


def read_labelled(data: TextSets) -> Reading:
    """Return texts with a label; the test split begins with the training texts to fit a probe on.

    Raises:
        UserError: for a set that is not known or cannot be read, a column that is missing, or a
            label out of range.
    """

    def read(part: LoadedSplit) -> list[Example]:
        declared = part.declared.get("label", "label")
        labels = part.column(declared if declared in part.rows.column_names else "label")
        texts = zip(part.column("text"), labels, strict=True)
        return [Example((text,), _label(label, part.where), part.group) for text, label in texts]

    reading = _read_sets(data, read)
    if "train" not in reading.roles:
        raise UserError(
            f"{reading.description}: no training split to fit a probe on; expected train and test "
            "files"
        )
    for group, name in enumerate(reading.names):
        classes = {
            role: {e.target for e in examples if e.group == group}
            for role, examples in reading.roles.items()
        }
        if unseen := sorted(classes["test"] - classes["train"]):
            raise UserError(
                f"{name}: label {unseen[0]:g} of the test split is out of range: the training "
                f"split has {', '.join(f'{label:g}' for label in sorted(classes['train']))}"
            )
    fitted = [Example(e.texts, e.target, e.group, scored=False) for e in reading.roles["train"]]
    roles = {"train": reading.roles["train"], "test": fitted + reading.roles["test"]}
    return Reading(roles, reading.names, reading.fingerprint, reading.description)


Read = Callable[[LoadedSplit], list[Example]]


def _read_sets(data: TextSets, read: Read) -> Reading:
    """Read the chosen sets; a set without a training split is for testing only."""
    sets, chosen = data.sets, data.chosen
    roles: dict[str, list[Example]] = {}
    digest, about = hashlib.sha256(), []
    for group, name in enumerate(chosen):
        if name not in sets:
            raise unknown("data set in task.names", name, sets, f"task.names=[{next(iter(sets))}]")
        declared = sets[name]
        splits = {role: role for role in declared.get("splits", "train test").split()}
        hub, folder = declared["hub"], data.source
        if folder is not None:
            folder = local_copy(folder, name, hub, only=len(chosen) == 1)
        loaded = HubSource(hub, declared.get("revision"), folder).load(splits)
        digest.update(f"{name} {loaded.fingerprint}\n".encode())
        about.append(f"{name} ({loaded.description})")
        for role, rows in loaded.splits.items():
            if len(rows) == 0:
                raise UserError(f"{name}: split {role} is empty; expected at least one row")
            part = LoadedSplit(role, rows, f"{name}, split {role}", group, declared)
            roles.setdefault(role, []).extend(read(part))
    if "train" in roles:
        test = {(example.group, example.texts) for example in roles["test"]}
        train = [
            example for example in roles["train"] if (example.group, example.texts) not in test
        ]
        if left_out := len(roles["train"]) - len(train):
            about.append(f"{left_out} training examples left out: they stand in the test split too")
        roles["train"] = train
    return Reading(roles, chosen, f"sha256:{digest.hexdigest()}", "; ".join(about))


def _score(value: Any, where: str) -> float:
    low, high = SCORE_RANGE
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = np.nan
    if not low <= score <= high:
        raise UserError(f"{where}: score {value!r} is out of range; expected {low:g} to {high:g}")
    return score


def _label(value: Any, where: str) -> float:
    try:
        label = int(value)
    except (TypeError, ValueError):
        label = -1
    if label < 0:
        raise UserError(f"{where}: label {value!r} is out of range; expected 0, 1, ...")
    return float(label)
