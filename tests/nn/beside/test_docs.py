"""The commands of `docs/layers.md` run, and their records pass the gate."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from moesuite.leaderboard.gate.plausible import check_plausible
from tests.conftest import ROOT
from tests.helpers import TINY_RUN, long_except, run

COMMANDS = re.findall(
    r"^python -m moesuite.run (.+)$",
    (ROOT / "docs" / "layers.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_there_are_some() -> None:
    assert len(COMMANDS) >= 1


@pytest.mark.parametrize("command", long_except(COMMANDS, COMMANDS[0]))
def test_the_command_runs(command: str, tmp_path: Path) -> None:
    record = run(tmp_path, *TINY_RUN, *shlex.split(command))
    check_plausible(record)
    assert record.status == "ok" and record.compute is not None
    routed = sum(layer.pairs_per_token for layer in record.health) / len(record.health)
    shared = record.config["shared_experts"] or 0
    assert record.compute.slots_per_token_effective == pytest.approx(routed + shared, rel=0.2)
