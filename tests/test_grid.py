"""Benchmarks: frozen grids, resumed where they stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite import compose, run
from moesuite.errors import UserError
from moesuite.grid import Grid, plan, show_grid
from moesuite.plugins import benchmark_files, router_names
from moesuite.record import Quality, RunRecord, read_record

GRID = """parts:
  - task: digits
    routers: [dense, soft]
    seeds: [0, 1]
    words: [trainer.max_steps=2, measure=false, trainer.enable_progress_bar=false, backbone.kwargs.embed_dim=16]
"""


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(GRID)
    monkeypatch.setattr("moesuite.grid.benchmark_files", lambda: {"mine": path})
    return tmp_path


def test_every_benchmark_opens_with_what_command_cost_and_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesuite.certificate.causal_routers", lambda: ["switch"])  # measured by tests/test_certify.py
    for name, path in benchmark_files().items():
        head = path.read_text()
        assert head.startswith("# What: ") and f"# Command: python -m moesuite.run benchmark={name}" in head
        assert "# Cost: " in head and "# Figure reached: " in head
        for part in plan([f"benchmark={name}"])[::7]:
            assert compose(*part.words).task["name"] == part.task


def test_routers_by_rule() -> None:
    grid = Grid.model_validate({"parts": [{"task": "digits"}, {"task": "stdlib", "routers": ["hash"], "seeds": [3]}]})
    assert grid.parts[0].names() == router_names() and grid.parts[1].names() == ["hash"]


def test_a_grid_is_run_shown_and_not_run_again(
    grid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "benchmark=mine", f"records={grid / 'runs'}"]
    monkeypatch.setattr("sys.argv", words)
    run.main()
    shown = capsys.readouterr().out
    assert "[1/4] digits, dense, seed 0" in shown and "[4/4] digits, soft, seed 1" in shown and "by the mean" in shown
    files = {path: path.stat().st_mtime_ns for path in (grid / "runs").rglob("*.json")}
    assert len(files) == 4
    gone = next(path for path in files if (found := read_record(path)).router == "soft" and found.seed == 1)
    gone.unlink()
    monkeypatch.setattr("sys.argv", words)
    run.main()  # only what is missing
    again = {path: path.stat().st_mtime_ns for path in (grid / "runs").rglob("*.json")}
    assert again.keys() == files.keys() and {path for path in files if files[path] != again[path]} == {gone}


def test_what_looks_ahead_and_what_is_scored_otherwise_stands_apart(capsys: pytest.CaptureFixture[str]) -> None:
    def record(router: str, primary: str, value: float, leaks: bool = False) -> RunRecord:
        quality, config = {primary: Quality(value=value, direction="min", n=9)}, {"allow_noncausal": leaks}
        return RunRecord.model_construct(task="stdlib", router=router, primary=primary, quality=quality, config=config)

    causal = [record("switch", "bits_per_byte", 2.0), record("hash", "bits_per_byte", 1.75)]
    others = [record("usmoe", "bits_per_byte", 0.5, leaks=True), record("soft", "perplexity", 9.0)]
    show_grid([*causal, record("hash", "bits_per_byte", 1.25), *others])
    found = " ".join(capsys.readouterr().out.split())  # titles are broken into lines
    assert found.count("by the mean over seeds") == 3 and found.count("SEES LATER TOKENS") == 1
    assert "1.7500, 1.2500" in found and found.index("1.5000") < found.index("switch") < found.index("usmoe")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["benchmark=qiuck"], "unknown benchmark 'qiuck'; nearest: "),
        (["benchmark=mine", "router=soft"], "a benchmark is a frozen grid; allowed beside it"),
        (["benchmark=mine", "source.imagenet=here"], "unknown task in source.<task> 'imagenet'"),
    ],
)
def test_bad_words(words: list[str], says: str, grid: Path) -> None:
    with pytest.raises(UserError, match=says):
        plan(words)
