"""The files of loggers lie in the folder of their run, whatever its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.config.compose import compose
from moesuite.train.trainer import build_loggers


@pytest.mark.parametrize("name", ["plain", "my $HOME recs", "~", "${HOME}"])
def test_a_name_is_taken_for_itself(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (logger,) = build_loggers(compose("router=soft", "logger=tensorboard"), Path(name))
    logger.log_metrics({"loss": 1.0}, 0)
    logger.save()
    logger.finalize("success")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert any("tfevents" in path.name for path in (tmp_path / name).iterdir())
