"""Fixtures of backgammon: experts and labels."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moesuite.errors import UserError
from moesuite.tasks.preferences.backgammon.expert import Expert, expert_of
from moesuite.tasks.preferences.backgammon.labels import labelled
from tests.tasks.preferences.backgammon.recipes import SMALL


@pytest.fixture(params=["gnubg-nn", "gnubg"])
def expert(request: pytest.FixtureRequest) -> Expert:
    """Either GNU Backgammon; of the program, CI has it."""
    try:
        return expert_of(request.param, 0)
    except UserError as missing:
        if os.environ.get("MOESUITE_REQUIRE_GNUBG") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path))
    labelled(None, SMALL)
    return SMALL.folder
