"""Verification that is interrupted, and in processes of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moesuite import compose, fit
from moesuite.records.certificate import Verified
from moesuite.records.store import RunFiles, read_record
from tests.conftest import Command
from tests.helpers import MY_ROUTER, SHORT, wait_for
from tests.verify.recorded import copied, verified


@pytest.mark.slow
def test_an_interrupted_verification_goes_on(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, _, _) = copied(runs, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(
            "moesuite.train.fit.Run.evaluate", lambda run: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        assert verified(patch, path) == 130
    assert (
        "the same command resumes" in capsys.readouterr().err
        and not RunFiles(path).verified.exists()
    )
    (checkpoint,) = path.with_suffix("").glob(".verify/*/*/*/*/last.ckpt")
    written = checkpoint.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda folder: None)
        assert verified(patch, path) == 0
    assert "equal: all metrics agree" in capsys.readouterr().out
    assert checkpoint.stat().st_mtime_ns == written  # it was trained already


def test_an_interruption_before_any_training_begins_anew(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, _, _) = copied(runs, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(
            "moesuite.verify.rerun.check_identity",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        assert verified(patch, path) == 130
    error = capsys.readouterr().err
    assert error == f"interrupted, without a verdict on {path}: the same command starts over\n"
    assert not RunFiles(path).verified.exists()


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own(tmp_path: Path) -> None:
    words = (*SHORT[1:], "router=soft", "num_experts=2", "trainer.max_epochs=12")
    path = fit(compose(*words, f"records={tmp_path}"))[1]

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "moesuite.verify", str(path)]
        return subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    process = start()
    folder = path.with_suffix("") / ".verify"
    wait_for(lambda: any(folder.rglob("last.ckpt")), process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in error
    assert (
        error.endswith("the same command resumes from the last checkpoint\n")
        and not RunFiles(path).verified.exists()
    )
    (stopped,) = (read_record(one) for one in folder.rglob("*.json") if one.name == path.name)
    assert stopped.status == "interrupted" and 0 < stopped.steps < 12 * 22
    again = start()
    out, error = again.communicate(timeout=300)
    assert again.returncode == 0 and "\nequal: all metrics agree" in out, error


@pytest.mark.slow
def test_the_command_in_processes_of_its_own(command: Command, tmp_path: Path) -> None:
    """A router of one's own: honest, falsified, edited; and a file that is no record."""
    (tmp_path / "mine.py").write_text(MY_ROUTER, encoding="utf-8")
    assert command("moesuite.run", "router=mine:MyRouter", *SHORT).returncode == 0
    (path,) = tmp_path.glob("runs/digits/MyRouter/*.json")
    done = command("moesuite.verify", str(path))
    assert done.returncode == 0 and "equal: all metrics agree" in done.stdout, done.stderr
    values = json.loads(path.read_text(encoding="utf-8"))
    values["quality"]["top1"]["value"] += 0.01
    path.write_text(json.dumps(values), encoding="utf-8")
    done = command("moesuite.verify", str(path))
    assert (
        done.returncode == 1 and "DIFFERENT: curve and routing agree, but not top1" in done.stdout
    ), done.stderr
    verdicts = Verified.model_validate_json(
        RunFiles(path).verified.read_text(encoding="utf-8")
    ).verdicts
    assert [verdict.verdict for verdict in verdicts] == ["equal", "different"]
    (tmp_path / "mine.py").write_text(MY_ROUTER + "\n# edited\n", encoding="utf-8")
    done = command("moesuite.verify", str(path))
    assert done.returncode == 2 and "router file" in done.stderr and done.stderr.count("\n") == 1
    done = command("moesuite.verify", str(tmp_path / "mine.py"))
    assert (
        done.returncode == 2 and done.stderr.count("\n") == 1 and "not a run record" in done.stderr
    )
