"""Workers of one study: killed, lost, on launchers, and in PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import pytest
from optuna.trial import TrialState

from moesuite.errors import UserError
from moesuite.records.store import read_record
from moesuite.records.study import StudyRecord
from moesuite.tune import storage as storages
from moesuite.tune.heartbeat import ALIVE, BEYOND, WORKER, alive, claims_winner, recover
from moesuite.tune.storage import open_storage
from tests.helpers import wait_for
from tests.tune.studies import tuned


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "moesuite.tune", f"records={folder}", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def trials_of(where: str, name: str) -> list[optuna.trial.FrozenTrial]:
    try:
        return optuna.load_study(study_name=name, storage=open_storage(where)).get_trials(
            deepcopy=False
        )
    except KeyError:
        return []


def wait_for_a_running_trial(where: str, name: str, process: subprocess.Popen[Any]) -> None:
    wait_for(
        lambda: any(
            t.state == TrialState.RUNNING and WORKER in t.user_attrs for t in trials_of(where, name)
        ),
        process,
    )


LONG = ["task=digits", "router=soft", "tune=slots", "study=s", "winner=0", "trials=2"]


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_its_own_trial_only_and_it_is_run_again(
    tmp_path: Path,
) -> None:
    where = str(tmp_path / "studies" / "s.journal")
    process = started(tmp_path, *LONG, "trainer.max_epochs=60")
    wait_for_a_running_trial(where, "s", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (lost,) = trials_of(where, "s")
    assert lost.state == TrialState.RUNNING
    done = started(tmp_path, *LONG, "trainer.max_epochs=60")
    assert done.wait(300) == 0
    trials = trials_of(where, "s")
    assert [t.state for t in trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert trials[1].params == lost.params and trials[1].user_attrs["retry_of"] == 0
    record = StudyRecord.model_validate_json(
        (tmp_path / "studies" / "s.json").read_text(encoding="utf-8")
    )
    assert [t.retry_of for t in record.trials] == [None, 0, None]


@pytest.mark.parametrize(("silent", "lost"), [(61, 1), (30, 0), (None, 0)])
def test_a_worker_of_another_machine_is_lost_after_a_minute_without_a_sign(
    silent: int | None, lost: int, tmp_path: Path
) -> None:
    study = optuna.create_study(storage=open_storage(str(tmp_path / "s.journal")), study_name="s")
    trial = study.ask()
    value = trial.suggest_float("optim.lr", 0.0, 1.0)
    trial.set_user_attr(WORKER, "another.machine:1")
    if silent is not None:  # else it has just begun
        trial.set_user_attr(ALIVE, time.time() - silent)
    assert recover(study) == lost
    again = study.ask()
    assert (again.suggest_float("optim.lr", 0.0, 1.0) == value) is bool(lost)
    assert again.user_attrs.get("retry_of") == (0 if lost else None)


@pytest.mark.parametrize(("silent", "claimed"), [(61, True), (30, False)])
def test_the_winner_of_a_worker_that_died_on_another_machine_is_run_by_the_next(
    silent: int, claimed: bool, tmp_path: Path
) -> None:
    study = optuna.create_study(storage=open_storage(str(tmp_path / "s.journal")), study_name="s")
    study.set_user_attr(WORKER, "another.machine:1")
    study.set_user_attr(ALIVE, time.time() - silent)
    assert claims_winner(study) is claimed
    with mock.patch("moesuite.tune.heartbeat.BEAT", 0.01), alive(study):
        begun = time.time()
        wait_for(lambda: study.user_attrs[ALIVE] >= begun)
    assert (study.user_attrs[WORKER] == "another.machine:1") is not claimed


@pytest.mark.slow
def test_two_workers_share_a_study_and_one_of_them_runs_the_winner(tmp_path: Path) -> None:
    words = [*LONG[:-2], "winner=2", "trials=6", "trainer.max_epochs=3"]
    first, second = started(tmp_path, *words), started(tmp_path, *words)
    assert first.wait(300) == 0 and second.wait(300) == 0
    trials = [
        t
        for t in trials_of(str(tmp_path / "studies" / "s.journal"), "s")
        if not t.user_attrs.get(BEYOND)
    ]
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 6
    assert len({t.user_attrs[WORKER] for t in trials}) == 2
    record = StudyRecord.model_validate_json(
        (tmp_path / "studies" / "s.json").read_text(encoding="utf-8")
    )
    assert len(record.winner) == 2 and len(list(tmp_path.glob("digits/soft/*.json"))) == 6 + 2


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit"])
def test_workers_on_a_launcher(launcher: str, tmp_path: Path) -> None:
    words = [
        *LONG[:-2],
        "winner=1",
        "trials=4",
        "trainer.max_steps=30",
        "workers=2",
        f"launcher={launcher}",
    ]
    assert started(tmp_path, *words).wait(300) == 0
    trials = trials_of(str(tmp_path / "studies" / "s.journal"), "s")
    assert [t.state for t in trials[:4]] == [TrialState.COMPLETE] * 4
    assert len({t.user_attrs[WORKER] for t in trials if WORKER in t.user_attrs}) == 2
    record = StudyRecord.model_validate_json(
        (tmp_path / "studies" / "s.json").read_text(encoding="utf-8")
    )
    assert len(record.trials) == 4 and len(record.winner) == 1


def test_a_storage_that_cannot_be_reached_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(storages, "WAIT", 0.01)
    words = ["router=soft", "tune=slots", "storage=postgresql://nobody@127.0.0.1:9/none"]
    with pytest.raises(UserError, match="the study is unchanged, and the same command resumes it"):
        tuned(tmp_path, *words)
    assert capsys.readouterr().err.count("trying again in") == storages.TRIES - 1


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """Return the address of a PostgreSQL server on loopback, and what stops and starts it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        missing = "PostgreSQL (apt-get install postgresql)"
        if os.environ.get("MOESUITE_REQUIRE_POSTGRESQL") == "1":
            pytest.fail(f"MOESUITE_REQUIRE_POSTGRESQL=1, but there is no {missing}")
        pytest.skip(f"no {missing}")
    folder = Path(f"/tmp/moesuite-postgresql-{os.getpid()}")
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    def call(*words: str) -> None:
        subprocess.run([*as_user, *words], check=True, capture_output=True, cwd="/tmp")

    call(str(found[-1] / "initdb"), "-D", str(folder), "-U", "tuner", "-A", "trust")
    options = f"-p 54329 -c listen_addresses=127.0.0.1 -k {folder}"

    def switch(verb: str) -> None:
        more = ["-o", options, "-l", f"{folder}/log"] if verb == "start" else ["-m", "immediate"]
        call(str(found[-1] / "pg_ctl"), "-D", str(folder), "-w", *more, verb)

    switch("start")
    yield "postgresql://tuner@127.0.0.1:54329/postgres", switch
    switch("stop")
    call("rm", "-rf", str(folder))


@pytest.mark.slow
def test_workers_share_a_study_in_postgresql_through_a_failure(
    postgresql: tuple[str, Any], tmp_path: Path
) -> None:
    address, switch = postgresql
    words = [*LONG[:-1], "trials=5", "trainer.max_epochs=6", f"storage={address}"]
    first, second = started(tmp_path, *words), started(tmp_path, *words)
    wait_for_a_running_trial(address, "s", first)
    switch("stop")
    time.sleep(1)
    switch("start")
    assert first.wait(300) == 0 and second.wait(300) == 0
    complete = [t for t in trials_of(address, "s") if t.state == TrialState.COMPLETE]
    assert len(complete) == 5
    assert {read_record(p).config["study"] for p in tmp_path.glob("digits/soft/*.json")} == {"s"}
