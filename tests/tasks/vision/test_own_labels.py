"""Images of one's own: labels and columns as a task reads them, and what it notes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature

from moesuite import UserError
from moesuite.config.sections import Data
from moesuite.task import Task
from moesuite.train.dataloaders import eval_loader, train_loader
from tests.tasks.vision.pictures import CLASSES, picture, rows_of, vision, write_split


def shown(task: Task, split: str) -> list[int]:
    return [label for _, label, *_ in rows_of(task, split)]


def test_classes_in_another_order_are_the_same_classes(tmp_path: Path) -> None:
    """Taken by number, each label of the test split was that of another class."""
    images = [picture(n) for n in range(3)]
    write_split(tmp_path / "train.parquet", images, [0, 1, 2], ["cat", "dog", "owl"])
    write_split(tmp_path / "test.parquet", images, [0, 1, 2], ["owl", "cat", "dog"])
    task = vision(source=tmp_path)
    assert (shown(task, "train"), shown(task, "test")) == ([0, 1, 2], [2, 0, 1])
    assert "labels of split test have another order: mapped by name" in task.notes
    stream = vision(source=tmp_path, streaming=True)
    (batch,) = eval_loader(stream, Data(workers=0), "test")
    assert batch["label"].tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("labels", "expected", "note"),
    [
        (["owl", "cat", "dog"], [2, 0, 1], "labels: cat = 0, dog = 1, owl = 2"),
        ([3, 1, 2], [2, 0, 1], "labels: 1 = 0, 2 = 1, 3 = 2"),
    ],
)
def test_labels_that_are_mapped_are_noted(
    tmp_path: Path, labels: list[Any], expected: list[int], note: str
) -> None:
    for split in ("train", "test"):
        write_split(tmp_path / f"{split}.parquet", [picture(n) for n in range(3)], labels, None)
    task = vision(source=tmp_path)
    assert shown(task, "train") == shown(task, "test") == expected
    assert note in task.notes
    assert [example.label for example in task.preview("test").examples] == [
        str(label) for label in labels
    ]


@pytest.mark.slow
def test_a_stream_of_text_labels_and_of_strange_ones(tmp_path: Path) -> None:
    images = [picture(n) for n in range(3)]
    write_split(tmp_path / "train.parquet", images, ["a", "b", "c"], None)
    with pytest.raises(UserError, match="labels that are text .* type task.streaming=false"):
        vision(source=tmp_path, streaming=True)
    write_split(tmp_path / "train.parquet", images, [0, 7, -1], None)
    says = r"split train, row \d: label (7|-1); expected 0 to 2; .* type task.streaming=false"
    for strict in (True, False):  # no image is broken, and none can be left out for that
        task = vision(source=tmp_path, streaming=True, strict=strict)
        (batch,) = train_loader(task, Data(batch_size=3, workers=0), lambda: 0)
        with pytest.raises(UserError, match=says):
            task.inputs(batch)


def test_columns_are_found_by_their_usual_names(parquet: Path, tree: Path) -> None:
    cifar = {"columns": {"image": "img", "label": "fine_label"}}
    notes = {}
    for source in (parquet, tree):
        task = vision(source=source, **cifar)
        assert set(shown(task, "train")) == {0, 1, 2}
        notes[source] = [note for note in task.notes if "column" in note]
    assert notes == {
        parquet: [],  # image and label are plain
        tree: [],  # files have no columns
    }


def test_a_column_for_each_class(tmp_path: Path) -> None:
    """Taken for a label of its own, "owl" was a task of two classes."""
    rows = {"image": [picture(n) for n in range(3)], "id": [7, 8, 9]}
    rows |= {"dog": [0, 1, 0], "owl": [1, 0, 0], "cat": [0, 0, 1]}
    for split in ("train", "test"):
        Dataset.from_dict(rows).to_parquet(tmp_path / f"{split}.parquet")
    task = vision(source=tmp_path)
    assert shown(task, "test") == [1, 0, 2]
    assert "label is the one of the columns dog, owl, cat that is 1" in task.notes


def test_swapped_names_of_columns(tmp_path: Path) -> None:
    rows = {"label": [picture(0), picture(1), picture(2)], "image": [0, 1, 2]}
    features = Features(label=ImageFeature(), image=ClassLabel(names=list(CLASSES)))
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "train.parquet")
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "test.parquet")
    task = vision(source=tmp_path, columns={"image": "label", "label": "image"})
    assert shown(task, "test") == [0, 1, 2] and np.shape(rows_of(task, "test")[0][0]) == (3, 8, 8)
