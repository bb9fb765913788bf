"""The catalogue of backgammon experts: a file is an expert."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.errors import UserError
from moesuite.tasks.preferences.backgammon import experts
from moesuite.tasks.preferences.backgammon.expert import expert_names, expert_of
from moesuite.tasks.preferences.backgammon.experts.gnubg_nn import Package

SLOW_POKE = """
from moesuite.tasks.preferences.backgammon.expert import PASS


class Helper:
    pass


class SlowPoke:
    def __init__(self, plies=0):
        self.name = f"slow poke, {plies}-ply"

    def moves(self, board, dice):
        return PASS[0]

    def judged(self, board, dice):
        return PASS
"""


def test_experts_are_named_after_their_files() -> None:
    assert expert_names() == ["gnubg", "gnubg-nn"]
    assert isinstance(expert_of("gnubg-nn", 0), Package)


def test_a_second_expert_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_poke.py").write_text(SLOW_POKE, encoding="utf-8")
    (tmp_path / "_helper.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(experts, "__path__", [*experts.__path__, str(tmp_path)])
    assert expert_names() == ["gnubg", "gnubg-nn", "slow-poke"]
    assert expert_of("slow-poke", 2).name == "slow poke, 2-ply"
    with pytest.raises(UserError, match="unknown expert in task.expert 'slowpoke'; nearest: slow-"):
        expert_of("slowpoke", 0)
