"""The speed benchmarks run and report ratios; no test asserts a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.benchmarks.speed.layer import Size, contestants, measure
from moesuite.benchmarks.speed.loop import bare_epochs, lightning_epochs
from moesuite.plugins import router_names
from tests.conftest import Command

SMALL = Size(groups=2, tokens=16, dim=8, hidden=16, num_experts=4)


def test_every_router_is_measured_against_dense_and_bare() -> None:
    rows = {row.name: row for row in measure(SMALL, seconds=0.01)}
    assert set(rows) == {"bare", *router_names()}
    assert rows["dense"].both_to_dense == rows["bare"].both_to_bare == rows["dense"].forward_to_dense == 1
    assert all(row.both_ms > 0 and row.both_to_bare > 0 for row in rows.values())


def test_contestants_do_equal_expert_work() -> None:
    for name, (layer, x) in contestants(SMALL).items():
        y = layer(x)
        assert y.shape == x.shape, name
        if name not in ("dense", "bare"):
            assert layer.routing is not None
            dispatch, _ = layer.routing.dense()
            assert dispatch.shape[2] * dispatch.shape[3] == SMALL.tokens, name


def test_a_mistyped_option(command: Command) -> None:
    wrong = command("moesuite.benchmarks.speed.layer", "expert=8")
    assert wrong.returncode == 2 and "nearest: experts" in wrong.stderr
    assert command("moesuite.benchmarks.speed.layer", "experts=many").returncode == 2


def test_both_loops_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "data.batch_size=500",
        "logger=none",
        "trainer.enable_progress_bar=false",
        "trainer.enable_checkpointing=false",
    ]
    assert lightning_epochs(words, epochs=1) > 0
    assert bare_epochs(words, epochs=1) > 0
