"""Fixtures of the board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaderboard.boards import example, first_protocols, put


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder with the example's records."""
    put(tmp_path / "runs", example())
    return tmp_path / "runs"


@pytest.fixture
def made_records() -> Iterator[None]:
    """Let the versions of records that are made by hand be the newest."""
    with first_protocols():
        yield
