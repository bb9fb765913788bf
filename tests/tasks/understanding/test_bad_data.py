"""Data and objectives that do not fit are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moesuite import compose
from moesuite.errors import UserError
from moesuite.train.build import build_task
from moesuite.train.fit import fit
from tests.tasks.glue import BYTES, GLUE, rows, understanding_folder
from tests.tasks.local_data import TINY_BERT, parquet


@pytest.mark.parametrize(
    ("words", "change", "says"),
    [
        (["task.subset=cloa"], {}, "unknown set in task.subset 'cloa'; nearest: cola"),
        (
            ["task.subset=rte"],
            {"label": [-1] * 6},
            "label -1 is out of range; expected 0 to 1 .*not public",
        ),
        (
            ["task.subset=rte"],
            {"label": [2] * 6},
            "rte, split validation: label 2 is out of range; expected 0 to 1",
        ),
        (["task.subset=stsb"], {"label": [5.5] * 6}, "label 5.5 is out of range; expected 0 to 5"),
        (
            ["task.subset=rte"],
            {"sentence2": None},
            r"has no column 'sentence2'; its columns: sentence1 \(string\), label",
        ),
        (["task.subset=mnli"], {}, "mnli: no split 'validation_m.*'"),
    ],
)
def test_bad_data(words: list[str], change: dict[str, Any], says: str, tmp_path: Path) -> None:
    name = words[0].partition("=")[2]
    known = name if name in GLUE else "rte"
    columns = {
        key: value
        for key, value in (rows("glue", known, 100, 6) | change).items()
        if value is not None
    }
    parquet(tmp_path / known, train=rows("glue", known, 0, 12), validation=columns)
    with pytest.raises(UserError, match=says):
        build_task(compose("task=glue", *words, f"task.source={tmp_path}").task)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["backbone=t5_mini"],
            "cannot do task.objective=classification; .*with an encoder or a decoder only",
        ),
        (
            [*TINY_BERT, "task.objective=text_to_text"],
            "cannot do task.objective=text_to_text; .*e.g. backbone=t5_mini",
        ),
    ],
)
def test_objectives_that_a_backbone_cannot_do(words: list[str], says: str, tmp_path: Path) -> None:
    source = understanding_folder(tmp_path, "glue", "rte")
    with pytest.raises(UserError, match=says):
        fit(compose("task=glue", f"task.source={source}", *BYTES, *words, f"records={tmp_path}"))
