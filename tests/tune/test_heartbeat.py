"""Trials of workers that died: failed, enqueued again, and free of the budget."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import TrialState

from moesuite.tune.heartbeat import WORKER, lost_trials, recover, this_worker
from moesuite.tune.storage import open_storage
from moesuite.tune.study import trial_limit


def test_a_lost_trial_is_free_of_the_budget(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "s.journal"))
    study = optuna.create_study(storage=storage, study_name="s")
    study.ask().set_user_attr(WORKER, this_worker())
    study.ask().set_user_attr(WORKER, "another.machine:1")  # has just begun
    assert recover(study) == 1 and lost_trials(study) == {0} and trial_limit(study, 3) == 4
    states = [trial.state for trial in study.get_trials()]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING]
    assert recover(study) == 0  # another worker that looks later finds nothing to do


def test_a_trial_that_ends_meanwhile_is_not_enqueued_again(tmp_path: Path) -> None:
    """Two workers see the same dead one: the slower one of them must not enqueue it twice."""
    where = str(tmp_path / "s.journal")
    study = optuna.create_study(storage=open_storage(where), study_name="s")
    trial = study.ask()
    trial.set_user_attr(WORKER, this_worker())
    before = study.get_trials()
    other = optuna.load_study(storage=open_storage(where), study_name="s")
    assert recover(other) == 1
    study.get_trials = lambda **_: before  # type: ignore[method-assign]
    assert recover(study) == 0
    assert len(other.get_trials()) == 2


def test_marks_of_earlier_versions_are_read() -> None:
    """They were attributes of the trial itself."""
    study = optuna.create_study()
    study.add_trial(optuna.create_trial(state=TrialState.FAIL, user_attrs={"lost": True}))
    study.add_trial(optuna.create_trial(state=TrialState.FAIL))
    assert lost_trials(study) == {0} and trial_limit(study, 2) == 3
