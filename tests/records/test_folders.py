"""The id of a run follows from what is in the folder of its model, not from where it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from moesuite import compose
from moesuite.records.identity import identity


class Data:
    """Stands for a task with data."""

    fingerprint = "sha256:0"
    protocol = 1
    own_files: dict[str, Path] = {}


def folder(path: Path, weights: bytes = b"weights") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}", encoding="utf-8")
    (path / "tokenizer.json").write_text("{}", encoding="utf-8")
    (path / "model.safetensors").write_bytes(weights)
    return path


def of(place: Path | str, *words: str) -> Any:
    return identity(compose("task=stdlib", f"backbone=hf:{place}", *words), Data())


def test_equal_folders_are_one_model(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a"), folder(tmp_path / "deeper" / "b")
    (second / "README.md").write_text("notes", encoding="utf-8")
    run = of(first)
    assert run.id == of(second).id and run.contents == of(second).contents
    assert {"backbone.model", "backbone.tokenizer"} <= run.contents.keys()
    shutil.rmtree(first)
    assert of(folder(first, b"other weights")).id != run.id


def test_a_tokenizer_counts_by_its_content(tmp_path: Path) -> None:
    places = [folder(tmp_path / name) for name in "ab"]
    ids = [of("org/model", f"backbone.tokenizer={place}").id for place in places]
    assert ids[0] == ids[1]
    (places[1] / "tokenizer.json").write_text("{} ", encoding="utf-8")
    assert of("org/model", f"backbone.tokenizer={places[1]}").id != ids[0]


@pytest.mark.parametrize("words", [["task=digits"], ["task=stdlib", "backbone=gpt_mini"]])
def test_other_runs_keep_their_ids(words: list[str]) -> None:
    assert identity(compose(*words), Data()).contents == {"init": None}
