"""Fixtures of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.dense_runs import run


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a dense run of one epoch."""
    return run(tmp_path_factory.mktemp("dense"), "router=dense", "trainer.max_epochs=1")[1]
