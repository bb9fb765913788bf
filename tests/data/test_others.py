"""Streams, and tasks of others: what is shown where little is known."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from moesuite.data.sheets import caption
from moesuite.preview import Example
from tests.data.sources import COUNTING, Show, png


def test_of_a_stream_the_first_examples_are_shown_and_nothing_is_counted(
    show: Show, tmp_path: Path
) -> None:
    tables = {"train": ["red", b"no image"], "test": ["blue"]}
    for split, colours in tables.items():
        cells = [colour if isinstance(colour, bytes) else png(colour) for colour in colours]
        images = [{"bytes": cell, "path": None} for cell in cells]
        features = datasets.Features(
            {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["a", "b"])}
        )
        labels = [1] * len(cells)
        table = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
        table.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / f"{split}.parquet"))
    words = ("task=stl10", f"source={tmp_path}", "task.num_classes=2", "task.streaming=true")
    found = show(*words, "format=json")
    train = found["splits"]["train"]
    assert train["size"] is None and train["labels"] == {} and train["repeats"] is None
    assert train["examples"][0] == {"label": "b", "texts": [], "size": [4, 4], "mode": "RGB"}
    assert ", split train, row 1: " in train["examples"][1]["texts"][0]
    assert "│ train │ streamed │" in show(*words)[1]


def test_a_task_of_others_is_shown(
    show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither overrides `preview` nor `shown`, and has no options of files."""
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "counting.py").write_text(COUNTING, encoding="utf-8")
    (tmp_path / "conf" / "task" / "counting.yaml").write_text(
        "# @package _global_\ntask: {family: 'counting:Counting', name: counting}\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    words = (f"--config-dir={tmp_path / 'conf'}", "task=counting")
    found = show(*words, "format=json")
    assert {role: split["size"] for role, split in found["splits"].items()} == {
        "train": 8,
        "test": 4,
    }
    assert found["splits"]["test"]["repeats"]["in_train"] == 4
    code, out, _ = show(*words, "near=true")
    assert code == 0
    assert "warning: test: 4 of 4 examples (100 %) are in train, too" in out


def test_captions_are_short() -> None:
    long = caption(Example(texts=("x" * 200, *map(str, range(6))), label=2 / 3))
    assert long.split("\n") == [f"[0.6667] {'x' * 159}…", "  0", "  1", "  2", "  and 3 more texts"]
    assert caption(Example(texts=("two\n lines",))) == "two lines"
