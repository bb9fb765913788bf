"""Preferences of texts: reward models, cuts, and broken files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moesuite import compose, fit
from moesuite.errors import UserError
from moesuite.train.build import build_task
from tests.tasks.local_data import dialogue
from tests.tasks.preferences.words import QUICK


@pytest.mark.parametrize(
    ("task", "schema"),
    [
        ("ultrafeedback", "ultrafeedback"),
        pytest.param("preferences_text", "hh", marks=pytest.mark.slow),
    ],
)
def test_a_reward_model_of_texts(task: str, schema: str, tmp_path: Path) -> None:
    folder = dialogue(tmp_path / "texts", schema)
    words = [
        f"task={task}",
        f"task.source={folder}",
        "task.tokenizer=byte",
        "task.length=64",
        "router=soft",
    ]
    small = [
        "backbone.kwargs.hidden_size=24",
        "backbone.kwargs.intermediate_size=48",
        "backbone.kwargs.num_hidden_layers=2",
    ]
    record, _ = fit(compose(*words, *small, *QUICK, "trainer.max_steps=30", f"records={tmp_path}"))
    assert (
        record.quality["top1"].n == 12 and record.quality["top1"].value == 1.0
    )  # its answers are easily told apart


def test_a_perceptron_reads_no_texts(tmp_path: Path) -> None:
    folder = dialogue(tmp_path / "texts", "hh")
    words = [
        f"task.source={folder}",
        "task.tokenizer=byte",
        "backbone=tesauro",
        "router=dense",
        f"records={tmp_path}",
    ]
    with pytest.raises(UserError, match="Perceptron refuses inputs"):
        fit(compose("task=preferences_text", *words, *QUICK))


def test_of_a_long_text_the_end_is_kept(tmp_path: Path) -> None:
    words = [
        "task=preferences_text",
        f"task.source={dialogue(tmp_path / 'texts', 'hh')}",
        "task.tokenizer=byte",
    ]
    task = build_task(compose(*words, "task.length=8").task)
    data: Any = task.dataset("test")
    assert [bytes(row.astype(np.uint8)).decode() for row in data[0].rows] == [
        "\nit is \n",
        "\nnt: no\n",
    ]
    assert "".join(task.shown(task.collate([data[0]]))[1]) == "\nnt: no\n"
