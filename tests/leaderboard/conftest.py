"""Fixtures of the board."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leaderboard.boards import example, put


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder with the example's records."""
    put(tmp_path / "runs", example())
    return tmp_path / "runs"
