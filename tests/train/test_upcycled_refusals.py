"""Upcycled runs that cannot go on are refused with what to type."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from moesuite import UserError, compose, fit, upcycle
from tests.helpers import invoke
from tests.train.dense_runs import QUIET, WORDS, run


@pytest.mark.slow
def test_a_run_limited_by_time_needs_a_schedule_without_end(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match="optim.schedule=cosine with optim.warmup=0.05 depends on the number of steps",
    ):
        fit(compose("trainer.max_time=00:00:00:01", f"records={tmp_path}", *QUIET))
    record, _ = run(tmp_path, "router=dense", "trainer.max_time=00:00:00:01")
    assert record.status == "ok" and record.steps > 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["trainer.max_steps=22"],
            "the dense run stopped at step 22, and this one ends at step 22",
        ),
        (
            ["trainer.max_steps=40", "optim.schedule=cosine"],
            "the learning rate would jump from .* at step 22; allowed",
        ),
        (["trainer.max_steps=40", "optim.lr=1e-4"], "the learning rate would jump"),
        (
            ["trainer.max_steps=40", "backbone.kwargs.embed_dim=128"],
            r"weights that do not fit: pos_embed: .*; .*; .*; .*; .* and \d+ more; allowed: a "
            r"run of router=dense",
        ),
        (
            ["trainer.max_steps=40", "upcycle=nowhere.ckpt"],
            "upcycle=nowhere.ckpt: no such file; allowed",
        ),
        (["trainer.max_steps=40", "decoder={k:2}"], r"decoder=\{'k': 2\}: its name is missing"),
        (
            ["trainer.max_steps=40", "decoder={name:switch}"],
            "no chosen layer is in a decoder; expected",
        ),
        (["trainer.max_steps=40", "layers=[3]"], "layers: 3 matched nothing"),
    ],
)
def test_runs_that_cannot_continue(
    words: list[str],
    says: str,
    dense: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    """Exit code 2, one line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    given = [f"upcycle={dense}"] if not any(word.startswith("upcycle=") for word in words) else []
    assert invoke(monkeypatch, *WORDS, "router=switch", *given, *words) == 2
    error = capsys.readouterr().err
    assert re.search(says, error), error
    assert error.count("\n") == 1 and not any((tmp_path / "runs").rglob("*"))


def test_a_model_with_moe_layers_is_not_upcycled_again(dense: Path, tmp_path: Path) -> None:
    _, moe = run(tmp_path, "router=switch", "trainer.max_steps=2")
    with pytest.raises(
        UserError,
        match="this model has MoE layers; allowed: the checkpoint of a run of router=dense",
    ):
        run(tmp_path, "router=switch", "trainer.max_steps=4", f"upcycle={moe}")
    with pytest.raises(UserError, match="this model has MoE layers; expected a dense one"):
        upcycle(str(moe))
