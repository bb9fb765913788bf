"""Trials that are stopped early, or fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moesuite import compose, fit
from moesuite.errors import Pruned
from moesuite.records.store import read_record
from moesuite.tune.arguments import commands_by_router, parse_command
from tests.tune.studies import tuned


def test_every_router_has_the_same_budget() -> None:
    asked = commands_by_router(parse_command(["tune=router", "router=all", "trials=7", "study=s"]))
    assert {one.options.trials for one in asked} == {7} and len(asked) > 5
    assert {one.options.study for one in asked} == {f"s_{one.options.router}" for one in asked}


def test_a_trial_that_is_behind_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five trials that reach 0.9.

    Of those after them, the ones that are at 0.1 by then are pruned there.
    """
    tuned(tmp_path / "one", "router=soft", "tune=slots", "trials=1")
    (path,) = (tmp_path / "one").glob("digits/soft/*.json")

    def watched(config: Any, command: str, watch: Any) -> Any:
        for step in (1, 2):
            watch(step, 0.9 if config.trial < 5 else 0.1)
        return read_record(path), path

    monkeypatch.setattr("moesuite.tune.trial.fit", watched)
    found = tuned(tmp_path / "two", "router=soft", "tune=slots", "trials=7", "pruner=median")
    assert [trial.state for trial in found.trials] == ["complete"] * 5 + ["pruned"] * 2
    assert found.trials[5].reason.startswith("pruned at step 1: 0.1 is no better")
    assert [step for step, _ in found.trials[5].steps] == [1]


@pytest.mark.slow
def test_hyperband_stops_most_trials_that_are_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned(tmp_path / "one", "router=soft", "tune=slots", "trials=1")
    (path,) = (tmp_path / "one").glob("digits/soft/*.json")
    best = 26

    def watched(config: Any, command: str, watch: Any) -> Any:
        for step in range(1, 10):
            watch(step, 1.0 if config.trial == best else 0.5 - config.trial / 100)
        return read_record(path), path

    monkeypatch.setattr("moesuite.tune.trial.fit", watched)
    words = [
        "router=soft",
        "tune.space.optim.lr=tag(log,interval(1e-4,1e-2))",
        "trials=27",
        "pruner=hyperband",
    ]
    found = tuned(tmp_path / "two", *words)
    states = [trial.state for trial in found.trials]
    assert states[best] == "complete" and 5 <= states.count("pruned") <= 25
    assert min(len(trial.steps) for trial in found.trials if trial.state == "pruned") < 9


@pytest.mark.slow
def test_a_pruned_run_keeps_a_record(tmp_path: Path) -> None:
    def stop(step: int, quality: float) -> None:
        raise Pruned(f"pruned at step {step}")

    words = [
        "trainer.max_epochs=2",
        "measure=false",
        "logger=none",
        "trainer.enable_progress_bar=false",
    ]
    with pytest.raises(Pruned):
        fit(compose(*words, f"records={tmp_path}"), "", stop)
    (path,) = tmp_path.glob("digits/token_choice/*.json")
    record = read_record(path)
    assert (record.status, record.reason) == ("pruned", "pruned at step 22") and record.curve


@pytest.mark.slow
def test_options_that_do_not_fit_fail_their_trial_only(tmp_path: Path) -> None:
    """More experts per token than there are experts."""
    words = [
        "router=token_choice",
        "num_experts=2",
        "tune.space.router.k=choice(1,2,5)",
        "trials=6",
    ]
    found = tuned(tmp_path, *words)
    for trial in found.trials:
        assert trial.state == ("fail" if trial.params["router.k"] == 5 else "complete"), trial
        assert ("router.k" in trial.reason or "k=5" in trial.reason) is (trial.state == "fail")
