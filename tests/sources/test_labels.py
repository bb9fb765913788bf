"""Labels of made splits, and the classes that they are mapped to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moesuite import UserError
from moesuite.sources.labels import LabelColumn, class_labels
from moesuite.sources.raw.classes import check_count

Split = list[Any] | tuple[list[Any], list[str]]  # labels; with the names that a source declares


def labels(num_classes: int | None = None, **splits: Split) -> Any:
    columns = {
        role: LabelColumn(*split) if isinstance(split, tuple) else LabelColumn(split)
        for role, split in splits.items()
    }
    return class_labels(columns, num_classes, "here")


PETS = ["cat", "dog", "owl"]
MAPPED: dict[str, tuple[dict[str, Any], dict[str, list[int]], list[str], list[str]]] = {
    "integers as they are": (
        {"num_classes": 3, "train": [2, 0, 1], "test": [1, 1]},
        {"train": [2, 0, 1], "test": [1, 1]},
        ["0", "1", "2"],
        [],
    ),
    "a class without training examples": (
        {"num_classes": 4, "train": [0, 1, 3], "test": [2]},
        {"train": [0, 1, 3], "test": [2]},
        ["0", "1", "2", "3"],
        [],
    ),
    "integers from 1": (
        {"num_classes": 3, "train": [3, 1, 2], "test": [2]},
        {"train": [2, 0, 1], "test": [1]},
        ["1", "2", "3"],
        ["labels: 1 = 0, 2 = 1, 3 = 2"],
    ),
    "integers with gaps, any number of them": (
        {"train": [10, 30, 20], "val": [30], "test": [20]},
        {"train": [0, 2, 1], "val": [2], "test": [1]},
        ["10", "20", "30"],
        ["labels: 10 = 0, 20 = 1, 30 = 2"],
    ),
    "whole floats": (
        {"train": [0.0, 1.0], "test": [1.0]},
        {"train": [0, 1], "test": [1]},
        ["0", "1"],
        [],
    ),
    "names declared in the same order": (
        {"train": ([0, 2], PETS), "test": ([1], PETS)},
        {"train": [0, 2], "test": [1]},
        PETS,
        [],
    ),
    "names declared in another order": (  # 0 is owl, 1 is cat, 2 is dog
        {"train": ([0, 1, 2], PETS), "test": ([0, 1, 2, 2], ["owl", "cat", "dog"])},
        {"train": [0, 1, 2], "test": [2, 0, 1, 1]},
        PETS,
        ["labels of split test have another order: mapped by name"],
    ),
    "text": (
        {"train": ["owl", "cat", "dog", "cat"], "test": ["dog"]},
        {"train": [2, 0, 1, 0], "test": [1]},
        PETS,
        ["labels: cat = 0, dog = 1, owl = 2"],
    ),
    "text beside declared names": (
        {"train": ([0, 1, 2], ["owl", "cat", "dog"]), "test": ["dog", "owl"]},
        {"train": [0, 1, 2], "test": [2, 0]},
        ["owl", "cat", "dog"],
        [],
    ),
    "declared names beside text": (  # no row is a "cow"
        {"train": ["dog", "cat"], "test": ([1, 2], ["cow", "dog", "cat"])},
        {"train": [1, 0], "test": [1, 0]},
        ["cat", "dog"],
        ["labels: cat = 0, dog = 1", "labels of split test have another order: mapped by name"],
    ),
    "integers beside names": (
        {"train": ([0, 1], ["cat", "dog"]), "test": [1, 0]},
        {"train": [0, 1], "test": [1, 0]},
        ["cat", "dog"],
        ["integer labels of split test are indices of cat, dog"],
    ),
    "names beside training integers": (
        {"train": [1, 0], "test": ([1], ["cat", "dog"])},
        {"train": [1, 0], "test": [1]},
        ["cat", "dog"],
        ["integer labels of split train are indices of cat, dog"],
    ),
    "composed and decomposed letters": (  # as Linux and macOS write them
        {"train": (["th\u00e9", "caf\u00e9"]), "test": ([0, 1], ["cafe\u0301", "the\u0301"])},
        {"train": [1, 0], "test": [0, 1]},
        ["caf\u00e9", "th\u00e9"],
        ["labels: caf\u00e9 = 0, th\u00e9 = 1"],
    ),
    "fewer names": (
        {"train": ([0, 1, 2], PETS), "test": ([0, 1], ["cat", "owl"])},
        {"train": [0, 1, 2], "test": [0, 2]},
        PETS,
        [],
    ),
    "more names, which no row has": (
        {"train": ([0, 1, 2], PETS), "test": ([1, 0], ["dog", "cat", "cow"])},
        {"train": [0, 1, 2], "test": [0, 1]},
        PETS,
        ["labels of split test have another order: mapped by name"],
    ),
    "booleans": (
        {"train": [True, False], "test": [True]},
        {"train": [1, 0], "test": [1]},
        ["false", "true"],
        [],
    ),
    "for testing only": (
        {"test": ["b", "a"]},
        {"test": [1, 0]},
        ["a", "b"],
        ["labels: a = 0, b = 1"],
    ),
}


@pytest.mark.parametrize("case", MAPPED)
def test_labels_are_mapped(case: str) -> None:
    splits, indices, names, notes = MAPPED[case]
    mapped = labels(**splits)
    assert {role: part.tolist() for role, part in mapped.indices.items()} == indices
    assert {part.dtype for part in mapped.indices.values()} == {np.dtype(np.int64)}
    said = [note for note in mapped.notes if "no example" not in note]
    assert [*mapped.names] == names and said == notes


def test_classes_without_examples_are_noted() -> None:
    """Declared or seen in training; a split may lack them, and the reader knows."""
    mapped = labels(train=([0, 1, 0], PETS), val=[1, 0, 2], test=([1, 1], ["owl", "dog"]))
    assert mapped.notes == (
        "integer labels of split val are indices of cat, dog, owl",
        "labels of split test have another order: mapped by name",
        "split train has no example of owl",
        "split test has no example of cat, owl",
    )


def test_long_notes_are_shortened() -> None:
    (note,) = labels(train=[f"name {n:02}" for n in range(37)]).notes
    assert note.startswith("labels: name 00 = 0, name 01 = 1, ") and "name 09 = 9" in note
    assert note.endswith(", ... (37 in all)") and "name 10" not in note


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "other names": (
        {"train": ([0], ["cat", "dog"]), "test": ([0, 1], ["cat", "cow"])},
        "here, split test: classes that training lacks: cow; expected some of cat, dog",
    ),
    "other capitals": (
        {"train": ([0], PETS), "val": (["Dog", "cat"])},
        "here, split val: classes that training lacks: Dog; expected some of cat, dog, owl; they "
        "differ only in capitals or blanks: give them the same",
    ),
    "a blank at the end": (
        {"train": ["ant", "bee"], "test": ["ant ", "bee"]},
        "here, split test: classes that training lacks: 'ant '; expected some of ant, bee; they ",
    ),
    "an unknown name": (
        {"train": ["cat", "dog"], "test": ["dog", "cow"]},
        "here, split test: classes that training lacks: cow; expected some of cat, dog",
    ),
    "an unknown integer": (
        {"num_classes": 2, "train": [1, 2], "test": [2, 3]},
        "here, split test, row 1: label 3, which the training split lacks; its labels are 1, 2",
    ),
    "an integer beyond the names": (
        {"train": ([0, 1], ["cat", "dog"]), "test": [0, 2]},
        "here, split test, row 1: label 2; expected 0 to 1, the indices of cat, dog",
    ),
    "a declared integer beyond its names": (
        {"train": ([0, 5], ["cat", "dog"])},
        "here, split train, row 1: label 5; expected 0 to 1, the indices of cat, dog",
    ),
    "text beside integers": (
        {"train": ["cat", "dog"], "test": [0, 1]},
        "here, split test: labels are integers, of another split names (cat, dog); expected the "
        "same of all splits",
    ),
    "names and integers in one split": (
        {"train": ["cat", 1]},
        "here, split train: labels are names and numbers; expected either names or integers",
    ),
    "a missing label": (
        {"train": ["cat", None]},
        "here, split train, row 1: label None; expected a name or an integer >= 0; give it one, or "
        "remove the row",
    ),
    "not a number": ({"train": [0.0, float("nan")]}, "here, split train, row 1: label nan; "),
    "an empty name": ({"train": ["a", "", "b"]}, "here, split train, row 1: label ''; "),
    "a negative integer": ({"train": ([0, 1, -1], PETS)}, "here, split train, row 2: label -1; "),
    "a score": ({"train": [1.0, 0.5]}, "here, split train, row 1: label 0.5; expected classes, "),
    "several classes": ({"train": [0, [0, 1]]}, "here, split train, row 1: label [0, 1]; "),
    "no labels at all": (
        {"train": [0, 1], "test": [-1, -1]},
        "here, split test has no labels (row 0: -1); expected names or integers >= 0; if it is "
        "published without them, score another split",
    ),
    "no rows": ({"train": []}, "here, split train is empty: no rows; expected at least one "),
    "another number": (
        {"num_classes": 10, "train": ([0, 1, 2], PETS)},
        "here has 3 classes (cat, dog, owl), the task 10; expected equal counts; type for example "
        "task.num_classes=3",
    ),
    "too many integers": (
        {"num_classes": 2, "train": [1, 2, 3, 1, 2, 3]},
        "here has 3 classes (1, 2, 3), the task 2; expected equal counts; type for example "
        "task.num_classes=3",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_are_refused(case: str) -> None:
    splits, words = REFUSED[case]
    with pytest.raises(UserError) as error:
        labels(**splits)
    assert str(error.value).startswith(words) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("names", "rows", "words"),
    [
        (["train", "val"], None, "2 classes (train, val), which are names of splits; expected "),
        (["images"], None, "one class (images); expected at least two"),
        (["100", "101", "102"], 3, "3 classes (100, 101, 102) in 3 rows; expected classes with "),
        ([str(n) for n in range(50)], 60, "50 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (50 in "),
    ],
)
def test_no_number_is_suggested_for_what_are_no_classes(
    names: list[str], rows: int | None, words: str
) -> None:
    with pytest.raises(UserError) as error:
        check_count(names, 10, "here", rows)
    assert str(error.value).startswith(f"here has {words}")
    assert "num_classes" not in str(error.value)
