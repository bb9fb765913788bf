"""Texts to embed: pairs for search, pairs with a score, texts with a label."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moesuite.sources.labels import LabelColumn, class_labels
from moesuite.sources.raw.classes import names_beside
from moesuite.task import Column, HubSource, Readable, UserError
from moesuite.tasks.embeddings.sets import LoadedSet, TextSets, load_sets
from moesuite.tasks.text.local_copies import LoadedSplit, load_split
from moesuite.tasks.text.score_range import score_numbers
from moesuite.tasks.text.stdlib import documented, read_library

SHARES = {"test": 0.1, "val": 0.05}
PAIR = (Column("query", "text"), Column("document", "text"))
SCORED = (
    Column("sentence1", "text"),
    Column("sentence2", "text"),
    Column("score", "number"),
)
CLASSED = (Column("text", "text"), Column("label", "label"))
TABLES = Readable().words
SEARCHED = Readable(f"{TABLES} with the columns query and document", test_only=True)
SIMILAR = Readable(f"{TABLES} with the columns sentence1, sentence2 and score", test_only=True)
LABELLED = Readable(f"{TABLES} with the columns text and label", val=False)


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


Roles = dict[str, list[Example]]


@dataclass(frozen=True)
class Reading:
    """Examples as read.

    Attributes:
        roles: examples of each role.
        names: of the data sets, by group.
        fingerprint: of what was read.
        description: one line for the record.
        sizes: scored examples of each data set, where another program reads them; else None.
        notes: sentences for the reader: what was taken for what, what is left out.
        classes: names of the classes of each data set, by group.
    """

    roles: Mapping[str, list[Example]]
    names: list[str]
    fingerprint: str
    description: str
    sizes: Mapping[str, int] | None = None
    notes: tuple[str, ...] = ()
    classes: Sequence[tuple[str, ...]] = ()

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
        return read_search(data.source, data.splits)
    reading = read_scored(data, close) if kind == "similarity" else read_labelled(data)
    if not reading.roles.get("train", True):
        raise UserError(
            f"{reading.description}: all texts for training stand in the test split too; expected "
            "others"
        )
    return reading


def read_search(source: str | None, splits: Mapping[str, str] | None = None) -> Reading:
    """Return pairs for search: of the standard library, or of the columns query and document."""
    notes: list[str] = []
    if source is None:
        library = read_library(SHARES)
        pairs, fingerprint = documented(library), library.fingerprint
        about = f"docstrings and code of {library.description}"
    else:
        splits = splits or {"train": "train", "val": "validation", "test": "test"}
        loaded = HubSource(source=source).load(splits, readable=SEARCHED)
        fingerprint, about, notes = loaded.fingerprint, loaded.description, [*loaded.notes]
        pairs = {}
        for role, rows in loaded.splits.items():
            part = load_split(role, rows, f"{Path(source).name}, split {role}", PAIR)
            pairs[role] = list(zip(part.column("query"), part.column("document"), strict=True))
            notes += part.notes
        documents = [document for _, document in pairs["test"]]
        if repeated := len(documents) - len({*documents}):
            notes.append(
                f"{repeated} of {len(documents)} test documents repeat others: a query's only "
                "answer is the one in its row"
            )
        queries = [query for query, _ in pairs["test"]]
        if repeated := len(queries) - len({*queries}):
            notes.append(
                f"{repeated} of {len(queries)} test queries repeat others: the answers in the "
                "other rows count as wrong"
            )
    roles = {
        role: [Example(pair, float(row)) for row, pair in enumerate(role_pairs)]
        for role, role_pairs in pairs.items()
    }
    about = f"{about}: {len(roles['test'])} queries and documents of test"
    return Reading(roles, [], fingerprint, about, notes=tuple(dict.fromkeys(notes)))


def read_scored(data: TextSets, close: float) -> Reading:
    """Return pairs of sentences with a score of 0 to 5; pairs of at least `close` train.

    Raises:
        UserError: for a set that is not known or cannot be read, a column that is missing, or a
            score out of range.
    """
    sets, notes = load_sets(data, SCORED, SIMILAR)
    roles: Roles = {}
    scores: dict[str, list[float]] = {}
    for group, loaded in enumerate(sets):
        numbers, note = score_numbers(loaded.splits)
        notes += said(loaded, len(sets), note)
        for role, part in loaded.splits.items():
            scores.setdefault(role, []).extend(numbers[role])
            pairs = zip(part.column("sentence1"), part.column("sentence2"), strict=True)
            examples = [
                Example(pair, float(row) if role == "train" else score, group)
                for row, (pair, score) in enumerate(zip(pairs, numbers[role], strict=True))
                if role != "train" or score >= close
            ]
            roles.setdefault(role, []).extend(examples)
    if scores.get("train") and not roles["train"]:
        top = max(scores["train"])
        raise UserError(
            f"{sets[0].name}: no pair for training has a score of at least task.close={close:g}; "
            f"the largest is {top:g}; type for example task.close={top:g}"
        )
    return joined(sets, roles, notes)


def read_labelled(data: TextSets) -> Reading:
    """Return texts with a label; the test split begins with the training texts to fit a probe on.

    Raises:
        UserError: for a set that is not known or cannot be read, a column that is missing, or
            labels that are none.
    """
    sets, notes = load_sets(data, CLASSED, LABELLED)
    roles: Roles = {}
    classes = []
    for group, loaded in enumerate(sets):
        if "train" not in loaded.splits:
            raise UserError(
                f"{loaded.name} ({loaded.description}): no training split to fit a probe on; "
                "expected train and test files"
            )
        columns = _labels(loaded)
        labels = class_labels(columns, None, loaded.name)
        classes.append(labels.names)
        notes += said(loaded, len(sets), *labels.notes)
        for role, part in loaded.splits.items():
            pairs = zip(part.column("text"), labels.indices[role], strict=True)
            roles.setdefault(role, []).extend(
                Example((text,), float(label), group) for text, label in pairs
            )
    reading = joined(sets, roles, notes)
    fitted = [replace(example, scored=False) for example in reading.roles["train"]]
    roles = {"train": reading.roles["train"], "test": fitted + reading.roles["test"]}
    return replace(reading, roles=roles, classes=classes)


def _labels(loaded: LoadedSet) -> dict[str, LabelColumn]:
    """Return the labels of splits, with the names of a ClassLabel, or of a column label_text."""
    cells = {role: part.column("label") for role, part in loaded.splits.items()}
    texts = {
        role: part.rows[name]
        for role, part in loaded.splits.items()
        if (name := f"{part.columns['label']}_text") in part.rows.column_names
    }
    names = names_beside(cells, texts, loaded.name) if texts.keys() == cells.keys() else None

    def declared(part: LoadedSplit) -> Sequence[str] | None:
        feature = (part.rows.features or {}).get(part.columns["label"])
        return getattr(feature, "names", None) or names

    return {role: LabelColumn(cells[role], declared(part)) for role, part in loaded.splits.items()}


def joined(sets: Sequence[LoadedSet], roles: Roles, notes: list[str]) -> Reading:
    """Return the examples of all sets; what stands in the test split is left out of training."""
    digest = hashlib.sha256()
    for loaded in sets:
        digest.update(f"{loaded.name} {loaded.fingerprint}\n".encode())
    if "train" in roles:
        test = {(example.group, example.texts) for example in roles["test"]}
        train = [
            example for example in roles["train"] if (example.group, example.texts) not in test
        ]
        if left_out := len(roles["train"]) - len(train):
            notes.append(f"{left_out} training examples left out: they stand in the test split too")
        roles["train"] = train
    about = "; ".join(f"{loaded.name} ({loaded.description})" for loaded in sets)
    names = [loaded.name for loaded in sets]
    return Reading(roles, names, f"sha256:{digest.hexdigest()}", about, notes=tuple(notes))


def said(loaded: LoadedSet, count: int, *more: str) -> list[str]:
    """Return the notes of a set, each once, with its name where there are several."""
    prefix = f"{loaded.name}: " if count > 1 else ""
    return [f"{prefix}{note}" for note in dict.fromkeys([*loaded.notes, *more]) if note]
