"""Sweeps and benchmarks on launchers.

Real processes of joblib, submitit and Ray, and what happens when they die.
"""

from __future__ import annotations

import math
import operator
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moesuite.errors import UserError
from moesuite.experiments.benchmark import Planned, batches
from moesuite.experiments.launchers import Launcher, launch, parse_launcher
from moesuite.experiments.sweep import expand, more_than_one
from moesuite.records.store import read_record
from tests.experiments.grids import UPCYCLING
from tests.helpers import SHORT, invoke, wait_for

PARALLEL = [
    "joblib",
    pytest.param("submitit", marks=pytest.mark.slow),
    pytest.param("ray", marks=pytest.mark.slow),
]
OPTIONS: dict[str, dict[str, Any]] = {
    "joblib": {"n_jobs": 2},
    "submitit": {"cluster": "local", "timeout_min": 2},
    "ray": {"num_cpus": 1},
}


def test_a_sweep_is_every_combination_in_order() -> None:
    assert expand(
        ["-m", "router=soft,dense", "seed=0,1", "records=a", "layers=[0,1]", "--config-dir", "conf"]
    ) == [
        ["--config-dir=conf", f"router={router}", f"seed={seed}", "records=a", "layers=[0,1]"]
        for router in ("soft", "dense")
        for seed in (0, 1)
    ]
    assert expand(["-m", "num_experts=range(2,7,2)"]) == [
        [f"num_experts={count}"] for count in (2, 4, 6)
    ]
    assert expand(["--multirun", "optim.lr=choice(1e-3,2e-3)"]) == [
        ["optim.lr=0.001"],
        ["optim.lr=0.002"],
    ]
    assert expand(["-m", "seed=1"]) == [["seed=1"]]
    assert expand(["-m", "-cd", "conf", "~logger"]) == [["--config-dir=conf", "~logger"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-m", "optim.lr=interval(0,1)"], "a sweep needs values; type e.g. optim.lr=range"),
        (["-m", "seed=0,1", "router=[soft"], "allowed: option=value,value; see --help"),
        (
            ["-m", "seed=0,1", "--cfg", "job"],
            "--cfg=job in a sweep; allowed flags: -m, --multirun, --config-dir; type it",
        ),
        (["-m", "seed=0,1", "launcher=jobblib"], "unknown launcher 'jobblib'; nearest: joblib"),
        (
            ["-m", "seed=0,1", "launcher.n_jobs=2"],
            "launcher.n_jobs= without a launcher; type e.g. launcher=job",
        ),
        (["launcher=joblib"], "launcher=joblib for one run; allowed with -m or benchmark="),
        (
            ["-m", "seed=0,1", "launcher=joblib", "launcher.jobs=2"],
            "launcher.jobs=2: joblib says: ",
        ),
        (
            ["-m", "seed=0,1", "launcher=submitit", "launcher.hours=2"],
            "launcher.hours=2: submitit says: ",
        ),
    ],
)
def test_bad_words(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(("name", "extra"), [("ray", "ray"), ("submitit", "slurm")])
def test_a_missing_launcher_names_its_extra(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        UserError,
        match=rf'launcher={name} needs the package {name}; type pip install -e "\.\[{extra}',
    ):
        parse_launcher([f"launcher={name}"])


def test_devices() -> None:
    assert (
        not more_than_one(1)
        and not more_than_one("1")
        and more_than_one(2)
        and more_than_one("[0,1]")
    )


@pytest.mark.parametrize("name", PARALLEL)
def test_jobs_end_in_their_order_in_other_processes(name: str, tmp_path: Path) -> None:
    launcher = Launcher(name, OPTIONS[name], str(tmp_path))
    assert [ended.result for ended in launch(launcher, operator.neg, [3, 1, 2])] == [-3, -1, -2]
    (own,) = launch(launcher, eval, ["__import__('os').getpid()"])
    assert own.result != os.getpid()


def test_an_error_at_work_is_not_reported_as_a_bad_option() -> None:
    with pytest.raises(ValueError, match="math domain error") as found:
        list(launch(Launcher("joblib", {"n_jobs": 2}, ""), math.sqrt, [-1]))
    assert not isinstance(found.value, UserError)


def test_no_more_processes_than_jobs_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joblib starts as many as it is told: a million would take the machine down."""

    class Spy:
        def __init__(self, n_jobs: int, batch_size: int, return_as: str) -> None:
            raise ValueError(f"would start {n_jobs}")

    monkeypatch.setattr("joblib.Parallel", Spy)
    for typed, started in ((1_000_000, 2), (1, 1), (-1, -1)):
        with pytest.raises(UserError, match=f"would start {started};"):
            list(launch(Launcher("joblib", {"n_jobs": typed}, ""), abs, [1, 2]))


def test_here_is_this_process() -> None:
    assert [ended.result for ended in launch(Launcher("here", {}, ""), eval, ["1 + 1"])] == [2]


def test_a_dead_process_is_reported_and_the_same_command_resumes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a process died .*; run the same command to resume"):
        list(launch(Launcher("joblib", {"n_jobs": 2}, ""), os._exit, [9]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["submitit", "ray"])
def test_a_job_that_dies_is_no_reason_to_stop_the_others(name: str, tmp_path: Path) -> None:
    jobs = ["__import__('os')._exit(9)", "1 + 1"]
    options = {**OPTIONS[name], **({"max_retries": 0} if name == "ray" else {})}
    died, other = launch(Launcher(name, options, str(tmp_path)), eval, jobs)
    assert died.result is None and died.error and other.result == 2


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children heed SIGINT, by which submitit cancels jobs here.

    Those of a shell's background process do not.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_jobs_of_a_command_that_was_stopped_end_with_it(tmp_path: Path) -> None:
    note_pid = f"open('{tmp_path}/pid', 'w').write(str(__import__('os').getpid()))"
    sleep = f"[{note_pid}, __import__('time').sleep(600)]"
    jobs = launch(Launcher("submitit", OPTIONS["submitit"], str(tmp_path)), eval, ["1", sleep])
    next(jobs)
    pid = tmp_path / "pid"
    wait_for(lambda: pid.exists() and pid.read_text(encoding="utf-8") != "")
    jobs.close()  # type: ignore[attr-defined] # a generator
    wait_for(lambda: not Path(f"/proc/{pid.read_text(encoding='utf-8')}").exists())


@pytest.mark.slow
@pytest.mark.parametrize("name", PARALLEL)
def test_a_sweep_on_a_launcher_is_the_sweep(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["num_experts=0,4", "router=soft", *SHORT]
    options = [f"launcher.{key}={value}" for key, value in OPTIONS[name].items()]
    assert (
        invoke(monkeypatch, "-m", *words, f"records={tmp_path}/there", f"launcher={name}", *options)
        == 2
    )
    there = capsys.readouterr()
    assert there.err.count("error: num_experts=0") == 1
    assert "[2/2] num_experts=4 router=soft" in there.out and ": top1 0." in there.out
    assert invoke(monkeypatch, "-m", *words, f"records={tmp_path}/here") == 2
    first, second = (
        read_record(path)
        for folder in ("here", "there")
        for path in (tmp_path / folder).glob("digits/soft/*.json")
    )
    assert math.isclose(first.quality["top1"].value, second.quality["top1"].value, abs_tol=0.01)
    assert first.command == second.command.replace("/there", "/here")


def test_dense_runs_precede_those_upcycled_from_them() -> None:
    def one(part: str, seed: int, upcycles: str = "") -> Planned:
        return Planned("", seed, [], part, upcycles)

    first, second = (
        [one("a", 0), one("b", 0), one("", 0, "a")],
        [one("a", 1), one("", 1, "a"), one("", 1, "b")],
    )
    assert list(batches([*first, *second])) == [first[:2], [first[2], second[0]], second[1:]]
    assert list(batches([])) == []


@pytest.mark.slow
def test_a_benchmark_on_a_launcher_upcycles_what_it_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(UPCYCLING, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "moesuite.experiments.benchmark.benchmark_files", lambda: {"mine": tmp_path / "mine.yaml"}
    )
    monkeypatch.setenv("COLUMNS", "200")
    assert (
        invoke(
            monkeypatch,
            "benchmark=mine",
            f"records={tmp_path}/runs",
            "launcher=joblib",
            "launcher.n_jobs=2",
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "[5/5] digits, switch, seed 0: top1 0." in shown and "switch, upcycled" in shown
    assert sum(read_record(path).sunk is not None for path in Path("runs").glob("*/*/*.json")) == 3
