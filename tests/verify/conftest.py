"""Fixtures of recorded runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite import compose, fit
from tests.verify.recorded import WORDS


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a short run of each of three seeds."""
    folder = tmp_path_factory.mktemp("verify") / "runs"
    for seed in range(3):
        fit(compose(*WORDS, f"seed={seed}", f"records={folder}"))
    return folder
