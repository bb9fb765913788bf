"""The command in this process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moesuite.data.__main__ import main
from tests.data.sources import Show


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """Return a function that runs the command: its JSON, or (exit code, stdout, stderr)."""

    def run(*words: str) -> Any:
        monkeypatch.setattr("sys.argv", ["data", *words])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return json.loads(out) if "format=json" in words and code == 0 else (code, out, err)

    return run
