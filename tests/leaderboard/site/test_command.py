"""The command of the board: pages, checks, a server, and bad input."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from moesuite.experiments.run_report import print_run
from tests.conftest import Command
from tests.leaderboard.boards import contents, example, invoke, put


def test_the_command(command: Command, tmp_path: Path) -> None:
    missing = command("moesuite.leaderboard")
    assert (
        missing.returncode == 2
        and "records=runs does not exist" in missing.stderr
        and missing.stderr.count("\n") == 1
    )
    put(tmp_path / "mine", example())
    done = command("moesuite.leaderboard", "records=mine", "out=here")
    assert done.returncode == 0 and f"{len(example())} records -> here/index.html" in done.stdout
    wrong = command("moesuite.leaderboard", "recrods=mine")
    assert wrong.returncode == 2 and "nearest: records" in wrong.stderr
    assert "--serve" in command("moesuite.leaderboard", "--help").stdout


def test_the_command_that_a_run_prints_reads_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a shell takes it, with blanks, quotes, brackets and a comma; and beside another."""
    monkeypatch.chdir(tmp_path)
    folder, records = Path("my [red] runs, it's 2"), example()
    paths = put(folder, records)
    print_run(records[0], paths[0])
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("page")]
    assert f"record  {paths[0]}" in printed.splitlines()
    words = shlex.split(line)[4:]
    assert words == [f"records={folder}"]
    assert invoke(monkeypatch, *words) == 0
    put(Path("other"), records[:1])
    for both in (f"records=other,{folder}", f"records={folder},other"):
        assert invoke(monkeypatch, both, "out=again") == 0
        assert (tmp_path / "site" / "index.html").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--check", "--serve"], "type one of them"),
        (["port=x"], "port=x: input should be a valid integer"),
        (["records=nosuch://bucket/x"], "Protocol not known: nosuch"),
        (["records=http://127.0.0.1:9/runs/"], "does not exist, or cannot be reached"),
    ],
)
def test_bad_options_are_one_clear_line(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not (tmp_path / "site").exists()


def test_foreign_folders_are_not_overwritten(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "index.html").write_text("mine", encoding="utf-8")
    assert invoke(monkeypatch, f"records={runs}", f"out={tmp_path / 'theirs'}") == 2
    assert "did not write" in capsys.readouterr().err and contents(tmp_path / "theirs") == {
        "index.html": b"mine"
    }
    assert invoke(monkeypatch, f"records={runs}", "out=/proc/site") == 2
    assert "cannot be written" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert invoke(monkeypatch, f"records={runs}", f"out={tmp_path / 'file'}") == 2


def test_a_disk_that_is_full_is_no_record_s_fault(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: object, name: str, text: str) -> bool:
        if name.startswith("runs/"):
            raise OSError(28, "No space left on device")
        return True

    monkeypatch.setattr("moesuite.leaderboard.site.output_folder.Site.write", full)
    assert invoke(monkeypatch, f"records={runs}", f"out={tmp_path / 'site'}") == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error and error.count("\n") == 1


def test_records_are_only_checked(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, f"records={runs}", "--check") == 0
    assert (
        f"{len(example())} records can be shown" in capsys.readouterr().out
        and not (tmp_path / "site").exists()
    )
    (tmp_path / "none").mkdir()
    assert (
        invoke(monkeypatch, "records=none", "--check") == 2
        and "holds no record" in capsys.readouterr().err
    )


def test_serving_a_look(command: Command, runs: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "moesuite.leaderboard",
        f"records={runs}",
        "--serve",
        "port=8765",
    ]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert "http://127.0.0.1:8765/" in process.stdout.readline()
        time.sleep(0.2)
        assert b"Routers" in urllib.request.urlopen("http://127.0.0.1:8765/").read()
        taken = command("moesuite.leaderboard", f"records={runs}", "--serve", "port=8765")
        assert taken.returncode == 2 and "type for example port=8766" in taken.stderr
    finally:
        process.terminate()
        process.wait()
