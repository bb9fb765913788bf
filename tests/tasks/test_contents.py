"""Test examples that also stand in train: counted by hand, in every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from moesuite import compose
from moesuite.records.record import Duplicates
from moesuite.train.build import build_task
from moesuite.train.data_report import duplicates_of
from tests.tasks.local_data import parquet, sentences
from tests.tasks.vision.pictures import picture


def image_tree(folder: Path) -> list[str]:
    """Four of train, two of test: one of test is a file of train."""
    for split, seeds in (("train", (0, 1, 2, 3)), ("test", (3, 4))):
        for seed in seeds:
            path = folder / split / ("cat", "dog")[seed % 2] / f"{seed}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(seed).save(path)
    return ["task=imagenet", "task.num_classes=2", f"task.source={folder}"]


def image_rows(folder: Path) -> list[str]:
    """The same in cells of parquet."""
    names = datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features({"image": datasets.Image(), "label": names})
    folder.mkdir()
    for split, seeds in (("train", (0, 1, 2, 3)), ("test", (3, 4))):
        rows = {"image": [picture(s) for s in seeds], "label": [s % 2 for s in seeds]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}.parquet")
    return ["task=imagenet", "task.num_classes=2", f"task.source={folder}"]


def image_arrays(folder: Path) -> list[str]:
    """The same as arrays of pixels."""
    return [*image_rows(folder), "task.cache=true", "task.image_size=8"]


def search(folder: Path) -> list[str]:
    """Of 6 pairs of test, 2 stand in train as they are, and one with another answer."""
    queries = sentences(20)
    train = {"query": queries, "document": [f"answer {n}" for n in range(20)]}
    test = {"query": queries[17:] + sentences(3, 90)}
    test["document"] = ["another", *(f"answer {n}" for n in (18, 19, 90, 91, 92))]
    return ["task=stdlib_search", f"task.source={parquet(folder, train=train, test=test)}"]


def lines(folder: Path) -> list[str]:
    """Of 3 lines of test that are long enough, 2 stand in train, spaces at their ends aside."""
    folder.mkdir()
    long = [f"a line of some length that is told from others by {n}" for n in range(9)]
    texts = {"train": [*long[:6], "short"], "test": [f"  {long[4]} ", "short", long[5], long[7]]}
    for split, text in texts.items():
        (folder / f"{split}.txt").write_text(
            "\n".join(text * 5 if split == "train" else text), encoding="utf-8"
        )
    return ["task=tinyshakespeare", "task.length=8", f"task.source={folder}"]


def short_texts(folder: Path) -> list[str]:
    """Texts of a table are compared although all are short: of 3 of test 2 stand in train."""
    folder.mkdir()
    for split, texts in {"train": range(30), "test": (4, 5, 30)}.items():
        rows = "".join(f"\nthe text {n}" for n in texts)
        (folder / f"{split}.csv").write_text(f"text{rows}\n", encoding="utf-8")
    return ["task=tinyshakespeare", "task.length=8", f"task.source={folder}"]


def dialogues(folder: Path) -> list[str]:
    """Of 3 choices of test one stands in train; its twin there prefers the other answer."""
    folder.mkdir()

    def rows(numbers: list[int], swapped: int) -> dict[str, list[Any]]:
        pairs = {
            n: [f"ask {n}: yes", f"ask {n}: no"][:: -1 if n == swapped else 1] for n in numbers
        }
        return {
            "chosen": [pair[0] for pair in pairs.values()],
            "rejected": [pair[1] for pair in pairs.values()],
        }

    splits = {"train": rows([*range(20)], -1), "test": rows([3, 4, 30], 4)}
    words = ["task.tokenizer=byte", "task.length=16"]
    return ["task=preferences_text", *words, f"task.source={parquet(folder, **splits)}"]


@pytest.mark.parametrize(
    ("source", "count", "total", "unit"),
    [
        (image_tree, 1, 2, "examples"),
        (image_rows, 1, 2, "examples"),
        (image_arrays, 1, 2, "examples"),
        (search, 2, 6, "examples"),
        (lines, 2, 3, "lines of 50 or more characters"),
        (short_texts, 2, 3, "lines of 1 or more characters"),
        (dialogues, 1, 3, "examples"),
    ],
)
def test_of_the_test_split_so_many_stand_in_train(
    source: Callable[[Path], list[str]], count: int, total: int, unit: str, tmp_path: Path
) -> None:
    task = build_task(compose(*source(tmp_path / "data")).task)
    counts = duplicates_of(task)
    assert counts is not None
    assert counts["test"] == Duplicates(count=count, total=total, unit=unit)
    assert counts.get("val", counts["test"]).total > 0  # of a split that is not there: nothing
