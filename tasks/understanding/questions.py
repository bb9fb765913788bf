"""Sets of GLUE, SuperGLUE and your own as questions, from the hub or from tables on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from moesuite.sources.layout import listed
from moesuite.task import HubSource, Readable, UserError, as_path, unknown
from moesuite.tasks.text.local_copies import load_split, local_copy
from moesuite.tasks.understanding.answers import Question
from moesuite.tasks.understanding.columns import check_declared, wanted_columns
from moesuite.tasks.understanding.forms import FORMS
from moesuite.tasks.understanding.subset import Subset

OWN = "'+task.sets.mine={texts:[text],labels:[no,yes],metrics:[accuracy]}' task.subset=mine"


@dataclass(frozen=True)
class Benchmark(HubSource):
    """A set of a benchmark.

    Attributes:
        hub: id of the benchmark on the Hugging Face hub; its configurations are the sets.
        source: the set as tables, or a folder with one for each set, in the columns of the hub or
            of the benchmark's own files.
        subset: set to train and evaluate, one of `sets`.
        sets: declaration of each set by name: texts, labels, metrics, form, test.
    """

    hub: str | None = None
    source: str | None = None
    subset: str = "rte"
    sets: dict[str, Subset] = field(default_factory=lambda: {})

    @property
    def declared(self) -> Subset:
        """Declaration of the chosen set.

        Raises:
            UserError: for a set that is not among `sets`.
        """
        if self.subset not in self.sets:
            hint = f"task.subset={next(iter(self.sets), 'rte')}, or declare it: {OWN}"
            raise unknown("set in task.subset", self.subset, self.sets, hint)
        return self.sets[self.subset]


@dataclass(frozen=True)
class Questions:
    """Examples of each role, the fingerprint of what was read, and lines about it."""

    roles: Mapping[Literal["train", "test"], list[Question]]
    fingerprint: str
    description: str
    notes: tuple[str, ...] = ()


def read_questions(benchmark: Benchmark) -> Questions:
    """Read a set of a benchmark.

    Raises:
        UserError: for a set that cannot be read, an empty split, a column that is missing, a label
            that is none.
    """
    name, data = benchmark.subset, benchmark
    subset = benchmark.declared
    splits = {
        "train": "train",
        **{f"test{number or ''}": split for number, split in enumerate(subset.test)},
    }
    if data.source is not None and as_path(data.source).exists():
        data = replace(data, source=local_copy(data.source, name, data.hub or name, only=True))
    columns = listed([*subset.texts, "label"], 10)
    readable = Readable(f"{Readable().words} with the columns {columns}", val=False)
    loaded = data.load(splits, name, readable=readable)
    if missing := splits.keys() - loaded.splits.keys():
        split = splits[min(missing)]
        raise UserError(
            f"{name}: no split {split!r} in {loaded.description}; name its file {split}.parquet"
        )
    notes, questions = list(loaded.notes), dict[str, list[Question]]()
    for number, (role, rows) in enumerate(loaded.splits.items()):
        where = f"{name}, split {splits[role]}"
        check_declared(name, subset, rows, where)
        rows = rows.flatten() if subset.form == "wsc" else rows
        part = load_split(role, rows, where, wanted_columns(name, subset, rows.column_names))
        notes += part.notes
        read = FORMS[subset.form](name, subset, part)
        # training and the first test split are part 0
        questions[role] = [replace(question, part=max(0, number - 1)) for question in read]
    test = list(chain.from_iterable(questions[role] for role in splits if role != "train"))
    test_prompts = {question.prompt for question in test}
    train = [question for question in questions["train"] if question.prompt not in test_prompts]
    if not train:
        raise UserError(
            f"{name} of {loaded.description}: all examples for training stand in the test split "
            "too; expected others"
        )
    if left_out := len(questions["train"]) - len(train):
        notes.append(f"{left_out} training examples left out: they stand in the test split too")
    about = f"{name} of {loaded.description}"
    return Questions(
        {"train": train, "test": test}, loaded.fingerprint, about, tuple(dict.fromkeys(notes))
    )
