"""What is printed of a recommendation."""

from __future__ import annotations

import pytest

from moesuite.recommend.__main__ import main
from tests.helpers import exit_code


@pytest.mark.slow
def test_markdown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(monkeypatch, main, "model=hf:gpt2", "format=markdown") == 0
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    _, table, costs, *_, call, end = text.split("\n\n")
    assert table.startswith("| router |") and costs.startswith("costs relative")
    assert "model is yours" in text and call == "type, for the first one:"
    assert end.startswith("    model, receipt = moesuite.upcycle(model, ")
