"""Tuning: spaces, studies that survive their workers, trials that are normal runs, winners on fresh seeds."""

from __future__ import annotations

import json
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

from moesuite import compose, fit
from moesuite.benchmarks.speed.tuning import hypervolume
from moesuite.config.compose import composed, varied
from moesuite.config.options import word
from moesuite.errors import Pruned, UserError
from moesuite.leaderboard.site.build import build
from moesuite.records.record import dropped_under_capacity
from moesuite.records.store import read_record
from moesuite.records.study import SETTINGS, StudyRecord
from moesuite.tune import study as studies
from moesuite.tune.__main__ import main
from moesuite.tune.arguments import of_each_router, parse
from moesuite.tune.heartbeat import ALIVE, WORKER, alive, claims_winner, recover
from moesuite.tune.report import importances, ties
from moesuite.tune.search_space import read_space, tune_files
from moesuite.tune.study import open_storage
from moesuite.tune.worker import search
from tests.conftest import Command
from tests.helpers import wait_for

SHORT = ["task=digits", "trainer.max_steps=3", "data.batch_size=256", "winner=0"]


def tuned(folder: Path, *words: str) -> StudyRecord:
    return search(parse([*SHORT, f"records={folder}", *words]))


def space_of(name: str | None = None, router: str = "soft", **own: str) -> dict[str, str]:
    return {
        one.name: one.text
        for one in read_space(name, {k.replace("__", "."): v for k, v in own.items()}, router)
    }


def test_a_space_is_one_line_for_each_parameter(tmp_path: Path) -> None:
    assert space_of("capacity") == {
        "slots_per_token": "tag(log, interval(0.25, 4))",
        "eval_slots_per_token": "null, 0.5, 1, 2",
    }
    (tmp_path / "mine.yaml").write_text(
        "num_experts: range(2, 10)\nrouter.k: range(1, 3) if router=token_choice,random\n"
    )
    assert space_of(str(tmp_path / "mine.yaml"), "token_choice") == {
        "num_experts": "range(2, 10)",
        "router.k": "range(1, 3)",
    }
    assert space_of(str(tmp_path / "mine.yaml"), "soft") == {"num_experts": "range(2, 10)"}
    replaced = space_of("capacity", slots_per_token="interval(1,2)")
    assert replaced["slots_per_token"] == "interval(1, 2)"


@pytest.mark.parametrize("name", tune_files())
def test_every_space_has_something_for_some_router(name: str) -> None:
    assert of_each_router(parse([f"tune={name}", "router=all"]))


def test_a_router_s_space_follows_from_its_annotations() -> None:
    """k: Ge(1), default 1: from 1 to ten times it; a literal: its values; balance_weight: Ge(0), default 0.01."""
    found = space_of("router", "token_choice")
    assert found["router.k"] == "range(1, 11)"
    assert found["router.balance_weight"] == "tag(log, interval(0.001, 0.1))"
    assert found["router.batch_priority"] == "choice(false, true)"
    assert space_of("router", "soft")["router.dispatch"] == "choice(learned, uniform, identity)"
    assert space_of(None, "usmoe", router__alpha="auto") == {
        "router.alpha": "tag(log, interval(0.05, 1))"
    }
    (momentum,) = read_space(None, {"router.momentum": "auto"}, "expert_choice_causal")
    assert 0.999 < momentum.values[1] < 1  # Lt(1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tune=capacty"], "nearest: capacity"),
        (
            ["tune.space.router.kk=range(1,3)", "router=token_choice"],
            "unknown option of router=token_choice 'kk'",
        ),
        (["tune.space.optim.lrr=interval(1,2)"], "unknown option 'optim.lrr'; nearest: optim.lr"),
        (["tune.space.num_experts=range(0,5)"], "num_experts=0"),
        (["tune.space.num_experts=range(4,1000000001)"], "num_experts=1000000000"),
        (["tune.space.router.jitter=interval(0.1,5)", "router=switch"], "router.jitter=5.0"),
        (
            ["tune=experts", "objective=quality,latency", "measure=false"],
            "latency with measure=false: no run is timed",
        ),
        (
            ["tune=experts", "max_ms=3", "measure=false"],
            "max_ms with measure=false: no run is timed; type measure=true",
        ),
        (
            ["tune=slots", "router=hash", "tune.space.router.slots_per_expert=range(1,3)"],
            "unknown option of router=hash",
        ),
        (["tune=router", "router=hash"], "nothing to search for router=hash"),
        (
            ["tune=experts", "objective=speed"],
            "allowed are quality, quality,flops and quality,latency",
        ),
        (["tune=experts", "objective=quality,flops", "pruner=median"], "these are not pruned"),
        (["tune=experts", "pruner=best"], "nearest: "),
        (["tune=experts", "trials=0"], "trials=0: allowed are whole numbers"),
        (["tune=experts", "max_gflop=much"], "max_gflop=much: allowed are numbers from 0 on"),
        (["tune=experts", "seed=1"], "a study sets it itself"),
        (["tune=experts", "storage=nosuch://here"], "storage=nosuch://here"),
        (["tune=experts", "task=digitts"], "nearest: digits"),
    ],
)
def test_what_is_mistyped_is_told_in_one_line(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tune", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == 2 and says in error and error.count("\n") == 1
    assert not list(tmp_path.glob("runs/*/*/*.json"))


def test_a_study_is_normal_runs_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["router=soft", "tune=slots"]
    first = tuned(tmp_path, *words, "trials=2")
    assert [trial.state for trial in first.trials] == ["complete"] * 2 and len(first.best) == 1
    again = tuned(tmp_path, *words, "trials=4")
    assert [trial.run for trial in again.trials[:2]] == [trial.run for trial in first.trials]
    for trial in again.trials:
        record = read_record(tmp_path / "digits" / "soft" / f"{trial.run}.json")
        assert (record.config["study"], record.config["trial"]) == (
            "digits_soft_slots",
            trial.number,
        )
        assert (
            record.config["num_experts"] == trial.params["num_experts"]
            and record.command == trial.command
        )
        assert trial.values == [
            record.curve[-1].quality if record.curve else record.quality["top1"].value
        ]
    files = len(list(tmp_path.glob("*/*/*.json")))
    assert "recorded already" not in capsys.readouterr().err
    assert tuned(tmp_path, *words, "trials=4").trials == again.trials
    says = "study digits_soft_slots: its 4 trials are recorded already; type trials=<more>, or study=<another name>"
    assert says in capsys.readouterr().err
    assert len(list(tmp_path.glob("*/*/*.json"))) == files == 4


@pytest.mark.slow
def test_the_winner_is_run_on_fresh_seeds_and_trials_stay_off_the_board(tmp_path: Path) -> None:
    found = tuned(tmp_path / "runs", "router=soft", "tune=slots", "trials=3", "winner=2")
    runs = [
        read_record(tmp_path / "runs" / "digits" / "soft" / f"{run}.json") for run in found.winner
    ]
    best = found.trials[found.best[0]]
    assert [run.seed for run in runs] == [1000, 1001] and all(
        run.config["trial"] is None for run in runs
    )
    assert all(run.config["num_experts"] == best.params["num_experts"] for run in runs)
    values = [
        (run.curve[-1].quality if run.curve else None, run.quality["top1"].value) for run in runs
    ]
    assert [(run.run, run.seed) for run in found.fresh] == [
        *zip(found.winner, (1000, 1001), strict=True)
    ]
    assert all(
        one.test == test and one.search in (seen, test)
        for one, (seen, test) in zip(found.fresh, values, strict=True)
    )
    build([str(tmp_path / "runs")], tmp_path / "site")
    (row,) = json.loads((tmp_path / "site" / "data" / "digits.json").read_text())["rows"]
    assert [run for _, run in row["runs"]] == found.winner and "tuned by digits_soft_slots" in row[
        "labels"
    ]
    page = (tmp_path / "site" / "studies" / "digits_soft_slots.html").read_text()
    assert all(trial.run in page for trial in found.trials) and found.command in page.replace(
        "&#39;", "'"
    )
    assert all(
        (tmp_path / "site" / "runs" / f"{trial.run}.html").exists() for trial in found.trials
    )


def _study(
    values: list[tuple[float, ...]], params: list[dict[str, float]], directions: list[str]
) -> optuna.Study:
    study = optuna.create_study(directions=directions)
    for reached, options in zip(values, params, strict=True):
        spread = {name: optuna.distributions.FloatDistribution(0, 100) for name in options}
        study.add_trial(
            optuna.trial.create_trial(params=options, distributions=spread, values=reached)
        )
    return study


def test_ties_are_the_very_same_values_as_a_best_trial() -> None:
    """0.9 thrice is tied; 0.8 twice is not best; on a front, equal in both objectives."""
    values = [(0.9,), (0.8,), (0.9,), (0.8,), (0.9,)]
    assert ties(_study(values, [{"a": 1.0}] * 5, ["maximize"])) == [[0, 2, 4]]
    assert ties(_study(values[:2], [{"a": 1.0}] * 2, ["maximize"])) == []
    pairs = [(0.9, 3.0), (0.8, 1.0), (0.9, 3.0), (0.8, 2.0)]
    assert ties(_study(pairs, [{"a": 1.0}] * 4, ["maximize", "minimize"])) == [[0, 2]]


def test_importances_need_ten_different_settings_and_two_parameters() -> None:
    def shares(settings: int, trials: int, *names: str) -> dict[str, dict[str, float]]:
        params = [
            {name: float((number % settings) * (i + 1)) for i, name in enumerate(names)}
            for number in range(trials)
        ]
        study = _study(
            [(float(number % settings),) for number in range(trials)], params, ["maximize"]
        )
        return importances(study, ("quality",))

    assert SETTINGS == 10
    assert (
        shares(9, 30, "a", "b") == {} and shares(10, 10, "a") == {}
    )  # thirty trials of nine settings
    assert shares(10, 10, "a", "b")["quality"].keys() == {"a", "b"}


def test_a_front_is_asked_for_no_winner_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["router=soft", "tune=slots", "objective=quality,flops"]
    with pytest.raises(
        UserError,
        match=r"winner=1 with objective=quality,flops: .*type objective=quality max_gflop=",
    ):
        parse([*words, "winner=1"])
    assert parse([*words, "winner=0"]).values["winner"] == "0"
    monkeypatch.setattr("moesuite.tune.worker.is_open", lambda *_: False)
    search(parse([*words, f"records={tmp_path}"]))  # by default three seeds of a winner
    assert "no winner: a front has no single best trial" in capsys.readouterr().err


@pytest.mark.slow
def test_a_front_of_quality_and_flops_within_a_limit(tmp_path: Path) -> None:
    words = [
        "router=token_choice",
        "tune.space.eval_slots_per_token=choice(0.25,1,2,4)",
        "objective=quality,flops",
    ]
    found = tuned(tmp_path, *words, "trials=6", "max_gflop=0.0035")
    for trial in found.trials:
        assert trial.values is not None
        assert (trial.violated == ["max_gflop"]) is (trial.values[1] > 0.0035)
    kept = [trial for trial in found.trials if not trial.violated]
    values = {trial.number: trial.values or [] for trial in kept}
    behind = {
        n for n, (q, cost) in values.items() if any(o >= q and c < cost for o, c in values.values())
    }
    assert (
        found.best
        and not behind & set(found.best)
        and any(trial.violated for trial in found.trials)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("option", "most"), [("max_dropped", 0.2), ("max_ms", 1e-6)])
def test_what_is_beyond_a_limit_is_not_best(option: str, most: float, tmp_path: Path) -> None:
    """A quarter of a slot for each token drops most of them; no batch takes less than a nanosecond."""
    words = [
        "router=token_choice",
        "tune.space.slots_per_token=choice(0.25,4)",
        "trials=4",
        "data.batch_size=64",
    ]
    found = tuned(tmp_path, *words, f"{option}={most}")
    for trial in found.trials:
        record = read_record(next(tmp_path.glob(f"digits/token_choice/{trial.run}.json")))
        dropped = dropped_under_capacity(record.health)
        assert dropped is not None
        over = dropped > most if option == "max_dropped" else True
        assert (trial.violated == [option]) is over
    assert {trial.violated == [option] for trial in found.trials} == (
        {True, False} if most == 0.2 else {True}
    )
    assert not any(found.trials[number].violated for number in found.best) and bool(found.best) is (
        most == 0.2
    )


def test_every_router_has_the_same_budget() -> None:
    asked = of_each_router(parse(["tune=router", "router=all", "trials=7", "study=s"]))
    assert {one.values["trials"] for one in asked} == {"7"} and len(asked) > 5
    assert {one.values["study"] for one in asked} == {f"s_{one.router}" for one in asked}


def test_a_trial_that_is_behind_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five trials that reach 0.9; of those after them, the ones that are at 0.1 by then are pruned there."""
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
def test_hyperband_stops_most_of_what_is_behind(
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


def test_another_space_of_the_same_name_is_refused(tmp_path: Path) -> None:
    tuned(tmp_path, "router=soft", "tune=slots", "trials=1", "study=s")
    with pytest.raises(
        UserError, match=r"num_experts=choice\(4, 8, 16, 32\) in its space, where this one has"
    ):
        tuned(tmp_path, "router=soft", "tune=slots", "tune.space.num_experts=range(2,5)", "study=s")
    with pytest.raises(UserError, match="objectives quality, where this one has quality flops"):
        tuned(tmp_path, "router=soft", "tune=slots", "objective=quality,flops", "study=s")


@pytest.mark.parametrize("value", [None, True, False, 3, 0.1, 1e-5, 1 / 3, "learned"])
def test_values_are_written_to_the_last_digit(value: Any) -> None:
    import yaml

    text = word(value)
    assert (float(text) if isinstance(value, float) else yaml.safe_load(text)) == value


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 7, "num_experts": 2},
        {"router.k": 2, "optim.lr": 0.01},
        {"eval_slots_per_token": None, "layers": "all"},
    ],
)
def test_a_varied_configuration_is_the_composed_one(options: dict[str, Any]) -> None:
    base = ["router=token_choice", "task=cifar10", "seed=3"]
    words = [f"{name}={word(value)}" for name, value in options.items()]
    assert varied(composed(*base), options) == compose(*base, *words)


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
    record = StudyRecord.model_validate_json((tmp_path / "studies" / "s.json").read_text())
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
        if not t.user_attrs.get(studies.BEYOND)
    ]
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 6
    assert len({t.user_attrs[WORKER] for t in trials}) == 2
    record = StudyRecord.model_validate_json((tmp_path / "studies" / "s.json").read_text())
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
    record = StudyRecord.model_validate_json((tmp_path / "studies" / "s.json").read_text())
    assert len(record.trials) == 4 and len(record.winner) == 1


def test_a_storage_that_cannot_be_reached_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(studies, "WAIT", 0.01)
    words = ["router=soft", "tune=slots", "storage=postgresql://nobody@127.0.0.1:9/none"]
    with pytest.raises(
        UserError, match="the study is as it was, and the same command goes on with it"
    ):
        tuned(tmp_path, *words)
    assert capsys.readouterr().err.count("trying again in") == studies.TRIES - 1


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


def test_hypervolume_by_hand() -> None:
    """0.5 from 1 to 4, another 0.3 from 2 to 4, nothing for a point that is dominated: 1.5 + 0.6 of 4."""
    assert hypervolume([(0.6, 3.0), (0.5, 1.0), (0.8, 2.0)], 4.0) == pytest.approx(2.1 / 4)


@pytest.mark.slow
def test_tuning_is_measured(command: Command) -> None:
    done = command(
        "moesuite.benchmarks.speed.tuning", "trials=2", "rounds=1", "studies=1", "steps=2", "side=2"
    )
    assert done.returncode == 0 and all(
        what in done.stdout for what in ("overhead of a trial", "times", "of grid of 4: ")
    )
