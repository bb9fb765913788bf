"""What is imported in a command is kept out of the garbage collector's sight."""

from __future__ import annotations

import gc

import pytest

from moesuite.config.cli import importing


def test_nothing_is_collected_while_importing_nor_looked_at_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[object] = []
    monkeypatch.setattr("atexit.register", ends.append)
    gc.unfreeze()
    with pytest.raises(ImportError), importing():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() and gc.get_freeze_count() > 0 and ends == [gc.freeze]
    gc.unfreeze()
