"""Comparison training: bad input is one clear line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from moesuite import compose, fit
from moesuite.errors import UserError
from moesuite.tasks.preferences.backgammon import labels, selfplay
from moesuite.tasks.preferences.backgammon.expert import expert_of
from moesuite.tasks.preferences.backgammon.selfplay import Recipe
from moesuite.train.build import _shared
from tests.helpers import invoke
from tests.tasks.preferences.words import QUICK, SMALL


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["task.head=comparison_free", "task.loss=listwise"],
            "task.loss=listwise with task.head=comparison_free; expected",
        ),
        (
            ["task.head=relative_score", "task.loss=chosen"],
            "task.loss=chosen with task.head=relative_score; expected p",
        ),
        (["task.play=[pubevil]"], "pubevil"),
        (["task.games=7", "task.play=[random]"], "task.games"),
        (
            ["task=preferences_text", "task.play=[random]"],
            "task.play=['random'] with task.kind=text; expected task.kind=backg",
        ),
        (["router=soft", "backbone=tesauro"], "Perceptron has no MLP that can become an MoE layer"),
        (["backbone=mlp:step", "router=dense"], "unknown activation in backbone 'mlp:step'"),
        (["backbone=vit_mini"], "backbone=timm:vit_tiny_patch16_224 does not fit this task"),
    ],
)
def test_bad_options_are_one_clear_line(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    small = SMALL[:4] if any("backbone" in word for word in words) else SMALL
    assert invoke(monkeypatch, *small, *QUICK, *words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and says in last


@pytest.mark.slow
def test_play_without_the_expert_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*SMALL, *QUICK, f"records={tmp_path}"]
    fit(compose(*words))  # labels are cached from here on
    monkeypatch.setitem(sys.modules, "gnubg_nn", None)
    read: list[Path] = []

    def made(recipe: Recipe) -> Path:
        read.append(selfplay.made(recipe))
        return read[-1]

    monkeypatch.setattr(labels, "made", made)
    monkeypatch.setattr(selfplay, "_make", lambda *_: pytest.fail("made again"))
    _shared.cache_clear()  # so that they are read from there
    expert_of.cache_clear()
    assert fit(compose(*words, "seed=1"))[0].status == "ok"
    assert [(folder / "train.parquet").is_file() for folder in read] == [True]
    with pytest.raises(UserError, match=r'not installed; type pip install -e "\.\[backgammon\]"'):
        fit(compose(*words, "task.play=[random]"))
