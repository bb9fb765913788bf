"""Embeddings: scores, labels and words that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moesuite import compose
from moesuite.errors import UserError
from moesuite.train.build import build_task
from tests.helpers import run
from tests.tasks.local_data import BYTES, TINY_BERT, parquet, search_folder, sentences


def two(folder: Path, **columns: list[Any]) -> str:
    """Write columns as the training and test split of the set STS16, or Emotion."""
    return str(parquet(folder / "STS16", test=columns).parent)


@pytest.mark.parametrize(
    ("task", "columns", "says"),
    [
        (
            "sts",
            {"sentence1": ["a"], "sentence2": ["b"], "rating": [1.0], "votes": [3]},
            "no column 'score', and more than one that could be it: rating, votes; its columns",
        ),
        (
            "sts",
            {"sentence1": ["a"], "sentence2": ["b"], "score": [7.0]},
            "score 7.0 is out of range; expected 0 to 5",
        ),
        ("sts", {"sentence1": [], "sentence2": [], "score": []}, "a split is empty"),
    ],
)
def test_bad_scores(task: str, columns: dict[str, list[Any]], says: str, tmp_path: Path) -> None:
    source = two(tmp_path, **columns)
    words = [f"task={task}", f"task.source={source}", "task.names=[STS16]", *TINY_BERT, *BYTES]
    with pytest.raises(UserError, match=says):
        run(tmp_path, *words)


def test_labels_out_of_range(tmp_path: Path) -> None:
    texts = sentences(4)
    for number, (train, test, says) in enumerate(
        [
            ([0, 1, 0, 1], [0, 5, 1, 0], "Emotion, split test, row 1: label 5, which the training"),
            ([0, 1, -1, 0], [0] * 4, "Emotion, split train, row 2: label -1"),
        ]
    ):
        folder = parquet(
            tmp_path / f"{number}" / "Emotion",
            train={"text": texts, "label": train},
            test={"text": sentences(4, 10), "label": test},
        )
        with pytest.raises(UserError, match=says):
            build_task(
                compose(
                    "task=text_classification",
                    f"task.source={folder.parent}",
                    "task.names=[Emotion]",
                    *TINY_BERT,
                ).task
            )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(
            ["task=mteb", "task.names=[STSBenchmrk]"],
            "nearest: STSBenchmark",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["task=mteb", "task.names=MTEB(eng, v3)"],
            r"nearest: MTEB\(eng, v",
            marks=pytest.mark.slow,
        ),
        (["task=mteb"], "task.names is empty"),
        (
            ["task=sts", "task.names=[STS21]", "task.source=two"],
            "unknown data set in task.names 'STS21'; nearest: STS1",
        ),
        (
            ["task=sts", "task.names=[MR]"],
            "type for example task.names=.*, or for your own task.source=<folder with a folder MR>",
        ),
        (["task=sts", "task.source=.", "task.names=[STS12,STS13]"], "has no folder STS12"),
        (["task=stdlib_search", "task.prompt=summary"], "the text's place is missing"),
        (
            ["task=stdlib_search", "task.source=data", "task.tokenizer=./nowhere"],
            "task.tokenizer=./nowhere: cannot be loaded",
        ),
        (["task=stdlib_search", "task.source=data", "backbone=vit_mini"], "expected hf:<name>"),
    ],
)
def test_bad_input(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search_folder(tmp_path / "data")
    for name in ("mine", "others"):
        search_folder(tmp_path / "two" / name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=says):
        run(tmp_path, *words)
