"""Runs again: skipped where recorded, continued after Ctrl-C, one record of two processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import torch

from moesuite import compose, fit
from moesuite.records.store import RunFiles, read_record
from tests.conftest import Command
from tests.helpers import SHORT, invoke, run, wait_for


@pytest.mark.slow
def test_the_same_run_is_not_run_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert run(tmp_path).created == first.created
    assert run(tmp_path, "seed=1").id != first.id
    assert run(tmp_path, "trainer.max_steps=5").id != first.id


def test_a_sweep_goes_on_past_a_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, "-m", "num_experts=0,4", *SHORT) == 2
    assert len(list((tmp_path / "runs").rglob("digits/token_choice/*.json"))) == 1


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "moesuite.run",
            "measure=false",
            "logger=csv",
            "trainer.enable_progress_bar=false",
            *words,
        ],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        },  # as here: sums round the same
    )


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_the_run_goes_on_from_it(tmp_path: Path) -> None:
    words = ["trainer.max_epochs=12", "trainer.log_every_n_steps=1", "router=soft"]
    process = start(tmp_path, *words)
    folder = tmp_path / "runs" / "digits" / "soft"
    wait_for(lambda: any(folder.glob("*/last.ckpt")), process)  # the first epoch is done
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in error
    (path,) = folder.glob("*.json")
    stopped = read_record(path)
    assert stopped.status == "interrupted" and 0 < stopped.steps < 12 * 22
    assert start(tmp_path, *words).wait(timeout=300) == 0
    resumed = read_record(path)
    assert resumed.status == "ok" and resumed.steps == 12 * 22
    assert resumed.curve[: len(stopped.curve)] == stopped.curve
    whole = fit(compose(*words, "measure=false", "logger=none", f"records={tmp_path / 'whole'}"))[0]
    assert [point.loss for point in resumed.curve] == [point.loss for point in whole.curve]
    assert resumed.quality == whole.quality  # nothing was lost


@pytest.mark.slow
def test_a_process_that_ran_the_same_and_was_faster_keeps_its_record(tmp_path: Path) -> None:
    words = [*SHORT[1:], "router=dense", "trainer.max_epochs=1"]
    first = fit(compose(*words, f"records={tmp_path / 'first'}"))[1]
    path = tmp_path / "second" / first.relative_to(tmp_path / "first")

    def arrive(step: int, quality: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(first.read_bytes())

    assert fit(compose(*words, f"records={tmp_path / 'second'}"), "", arrive)[1] == path
    assert path.read_bytes() == first.read_bytes()


@pytest.mark.slow
def test_two_processes_write_one_record(command: Command, tmp_path: Path) -> None:
    words = [
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.strategy=ddp",
        "trainer.max_steps=3",
        *SHORT[1:],
    ]
    done = command("moesuite.run", *words, "router=expert_choice", "predictions=true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("record  ") == 1
    (path,) = (tmp_path / "runs").rglob("digits/expert_choice/*.json")
    record = read_record(path)
    assert record.status == "ok" and record.quality["top1"].n == 360  # each test image once
    rows = pandas.read_parquet(RunFiles(path).predictions)
    assert rows.id.nunique() == len(rows) == 360
    assert rows.right.mean() == pytest.approx(record.quality["top1"].value, abs=1e-6)
    sweep = command("moesuite.run", "-m", "seed=0,1", *words)
    assert sweep.returncode == 2 and "trainer.devices=2 in a sweep" in sweep.stderr
