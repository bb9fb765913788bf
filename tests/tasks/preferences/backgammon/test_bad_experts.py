"""Experts that are none, and programs that do not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.errors import UserError
from moesuite.tasks.preferences.backgammon.expert import expert_of
from moesuite.tasks.preferences.backgammon.experts.gnubg import Program
from tests.tasks.preferences.backgammon.recipes import MY_EXPERT


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gnbg", r"unknown expert in task.expert .gnbg.; nearest: gnubg"),
        ("my_expert.py:Nobody", "is no expert; expected a class with name, moves and judged"),
        (
            "my_expert.py:Somebody",
            "my_expert.py has no class Somebody; type for example task.expert=my_file:MyExpert",
        ),
        (
            "my_expert.py:Shallow",
            r"made with the plies: too many positional .*; expected __init__\(self, plies\)",
        ),
        (
            "broken.py:Expert",
            r"broken.py: ModuleNotFoundError: No module named 'nothing'; HYDRA_FULL_ERROR=1 shows",
        ),
        ("your_expert.py:Anybody", "no file your_expert.py in this folder"),
        (
            "gnubg",
            "the program gnubg is not installed; type apt-get install gnubg, or "
            "task.expert=gnubg-nn",
        ),
    ],
)
def test_invalid_experts_are_refused(
    name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    Path("my_expert.py").write_text(MY_EXPERT, encoding="utf-8")
    Path("broken.py").write_text("import nothing\n\n\nclass Expert: ...\n", encoding="utf-8")
    expert_of.cache_clear()
    for _ in range(2):  # once more: nothing of the first time is left
        with pytest.raises(UserError, match=says):
            expert_of(name, 0)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            "echo GNU Backgammon without Python",
            "ended without an answer; expected GNU Backgammon with Python",
        ),
        (
            "[ $1 = --version ] && echo GNU Backgammon || exec sleep 60",
            r"gnubg did not start in 0\.5 s; expected GNU",
        ),
        ("exit 3", "gnubg --version says nothing; expected GNU Backgammon"),
        ("exit 0", "gnubg --version says nothing; expected GNU Backgammon"),
        ("exec sleep 60", "gnubg --version says nothing; expected GNU Backgammon"),
    ],
)
def test_a_program_that_does_not_answer(
    script: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gnubg").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (tmp_path / "gnubg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("moesuite.tasks.preferences.backgammon.experts.gnubg.PATIENCE", 0.5)
    with pytest.raises(UserError, match=says):
        Program()
