"""A storage that fails at any one call, before or after it has stored, loses no trial."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from rich.console import Console

from moesuite.tune import heartbeat, storage, trial, worker
from moesuite.tune.heartbeat import BEYOND, WORKER, lost_trials, recover, this_worker
from moesuite.tune.space.search_space import Space
from moesuite.tune.space.sweep_grammar import parse_parameter
from moesuite.tune.storage import Patience
from moesuite.tune.trial import Search
from moesuite.tune.worker import Worker

BUDGET = 3
WRITES = (
    "create_new_trial",
    "set_trial_state_values",
    "set_trial_user_attr",
    "set_trial_param",
    "set_trial_intermediate_value",
    "set_study_user_attr",
)


class Flaky(InMemoryStorage):
    """Counts what is written, and fails once, or after that once until it is `mended`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.failing = -1
        self.stores_first = False
        for name in WRITES:
            setattr(self, name, partial(self._written, getattr(self, name)))

    def _written(self, write: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        fails = self.calls == self.failing
        if fails and not self.stores_first:
            raise StorageInternalError("refused")
        stored = write(*args, **kwargs)
        if fails:
            raise StorageInternalError("stored, but the answer was lost")
        return stored


def trained(config: Any, command: str, watch: Callable[[int, float], None]) -> tuple[Any, Path]:
    """Return the record of a run, without a run."""
    watch(1, 0.5)
    return None, Path()


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "WAIT", 0.0)
    monkeypatch.setattr(worker, "POLL", 0.002)
    monkeypatch.setattr(heartbeat, "GRACE", 0.01)  # of a trial without a name
    monkeypatch.setattr(trial, "fit", trained)
    monkeypatch.setattr(trial, "objective_value", lambda *_: 0.5)
    monkeypatch.setattr(trial, "varied", lambda *_: SimpleNamespace(task={}, resolved=dict))
    monkeypatch.setattr(trial, "shared_task", lambda _: None)
    monkeypatch.setattr(trial, "identity", lambda *_: SimpleNamespace(id="run"))


def study_of(storage: InMemoryStorage) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(0)
    return optuna.create_study(storage=storage, sampler=sampler, direction="maximize")


def work(study: optuna.Study) -> None:
    space: Space = [parse_parameter("optim.lr", "interval(0.1, 1)")]
    shared = Search("s", (), OmegaConf.create({}), space, ("quality",), {})
    patiently = Patience("memory", lambda _: None)
    Worker(shared, study, BUDGET, 0, patiently, Console(quiet=True)).run_trials(lambda: None)


def states(study: optuna.Study) -> list[TrialState]:
    return [t.state for t in study.get_trials() if not t.user_attrs.get(BEYOND)]


def calls() -> int:
    flaky = Flaky()
    work(study_of(flaky))
    return flaky.calls


def test_a_study_without_failures_writes_each_trial_once() -> None:
    study = study_of(Flaky())
    work(study)
    assert states(study) == [TrialState.COMPLETE] * BUDGET


@pytest.mark.parametrize("stores_first", [False, True])
def test_whichever_write_fails_the_budget_is_completed(stores_first: bool) -> None:
    """Also a write whose answer alone is lost, and a trial that nobody knows to be his."""
    for failing in range(1, calls() + 1):
        flaky = Flaky()
        study = study_of(flaky)
        flaky.failing, flaky.stores_first = failing, stores_first
        work(study)
        assert flaky.calls >= failing
        completed = states(study).count(TrialState.COMPLETE)
        assert completed == BUDGET, (failing, states(study))
        assert not {TrialState.RUNNING, TrialState.WAITING} & set(states(study))


def lost_study(flaky: InMemoryStorage, **attributes: Any) -> optuna.Study:
    """Return a study whose first trial was left behind."""
    study = study_of(flaky)
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params={"optim.lr": 0.3},
            distributions={"optim.lr": FloatDistribution(0.1, 1)},
            user_attrs=attributes,
        )
    )
    return study


@pytest.mark.parametrize("stores_first", [False, True])
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_whichever_step_of_a_recovery_fails_the_lost_settings_run_again(
    failing: int, stores_first: bool
) -> None:
    """Mark, fail, enqueue: three writes. The settings of the lost trial are never forgotten."""
    flaky = Flaky()
    study = lost_study(flaky, **{WORKER: this_worker()})
    flaky.calls, flaky.failing, flaky.stores_first = 0, failing, stores_first
    with pytest.raises(StorageInternalError, match="refused|stored"):
        recover(study)
    recover(study)
    recover(study)
    assert lost_trials(study) == {0}
    work(study)
    again = [t for t in study.get_trials() if t.user_attrs.get("retry_of") == 0]
    assert [(t.state, t.params["optim.lr"]) for t in again] == [(TrialState.COMPLETE, 0.3)]
    assert states(study).count(TrialState.COMPLETE) == BUDGET


def test_the_trial_of_a_dead_worker_is_run_by_one_that_has_none_left() -> None:
    """The budget is spent, no winner is wanted, and one trial was left behind."""
    flaky = Flaky()
    name, _, _ = this_worker().rpartition(":")
    study = lost_study(flaky, **{WORKER: f"{name}:{2**22 + 1}"})  # no process has such a number
    for _ in range(BUDGET - 1):
        study.tell(study.ask(), 0.5)
    work(study)
    assert states(study) == [TrialState.FAIL, *[TrialState.COMPLETE] * BUDGET]


def test_a_worker_taken_for_dead_goes_on_with_the_next_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Silent for a minute, then back: its trial is another's, and it must not fall over it."""
    study = study_of(Flaky())

    def taken(*args: Any) -> tuple[Any, Path]:
        if len(study.get_trials()) == 1:
            study.tell(0, state=TrialState.FAIL)
            study.set_user_attr("lost:0", f"another.machine:{os.getpid()}")
            study.enqueue_trial({"optim.lr": 0.3}, user_attrs={"retry_of": 0})
        return trained(*args)

    monkeypatch.setattr(trial, "fit", taken)
    work(study)
    assert states(study) == [TrialState.FAIL, *[TrialState.COMPLETE] * BUDGET]


def test_heartbeats_end_with_a_trial_that_was_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT", 0.001)
    failed: list[Any] = []
    monkeypatch.setattr("threading.excepthook", failed.append)
    study = study_of(Flaky())
    mine = study.ask()
    with heartbeat.alive(mine):
        study.tell(mine, state=TrialState.FAIL)
        time.sleep(0.02)
    assert failed == []
