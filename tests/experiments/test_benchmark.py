"""Benchmarks: frozen grids, resumed where they stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite import compose, run
from moesuite.discovery.names import benchmark_files, router_names
from moesuite.errors import UserError
from moesuite.experiments.benchmark import Grid, plan, read_parts
from moesuite.experiments.benchmark_report import print_comparison
from moesuite.experiments.upcycling_report import method_of, quality_at
from moesuite.records.record import CurvePoint, Quality, RunRecord, Sunk
from moesuite.records.store import read_record
from tests.experiments.grids import UPCYCLING

GRID = """parts:
  - task: digits
    routers: [dense, soft]
    seeds: [0, 1]
    words: [trainer.max_steps=2, measure=false, trainer.enable_progress_bar=false,
      backbone.kwargs.embed_dim=16]
"""


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(GRID, encoding="utf-8")
    monkeypatch.setattr("moesuite.experiments.benchmark.benchmark_files", lambda: {"mine": path})
    return tmp_path


@pytest.mark.slow
def test_every_benchmark_opens_with_what_command_cost_and_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "moesuite.certify.certificate.causal_routers", lambda: ["switch"]
    )  # measured by tests/certify/test_certify.py
    for name, path in benchmark_files().items():
        head = path.read_text(encoding="utf-8")
        assert (
            head.startswith("# What: ")
            and f"# Command: python -m moesuite.run benchmark={name}" in head
        )
        assert "# Cost: " in head and "# Figure reached: " in head
        is_open = any(part.is_open for part in read_parts(path))
        for planned in plan([f"benchmark={name}", *["router=soft"] * is_open])[::29]:
            assert f"task={compose(*planned.words).task['name']}" == planned.words[0]


def test_routers_by_rule() -> None:
    grid = Grid.model_validate(
        {"parts": [{"task": "digits"}, {"task": "stdlib", "routers": ["hash"], "seeds": [3]}]}
    )
    assert grid.parts[0].chosen_routers() == router_names() and grid.parts[1].chosen_routers() == [
        "hash"
    ]


def test_a_part_sweeps_every_combination(grid: Path) -> None:
    (grid / "mine.yaml").write_text(
        "parts:\n  - {task: digits, routers: [soft], words: [a=1],\n"
        "     sweep: ['slots_per_token=1,2', 'num_experts=range(2,5)']}\n",
        encoding="utf-8",
    )
    runs = plan(["benchmark=mine"])
    assert [run.words[3:5] for run in runs] == [
        [f"slots_per_token={slots}", f"num_experts={count}"]
        for slots in (1, 2)
        for count in (2, 3, 4)
    ]
    assert (
        runs[0].label == "digits, soft, slots_per_token=1, num_experts=2, seed 0"
        and runs[0].words[-1] == "a=1"
    )


def test_a_grid_is_run_shown_and_not_run_again(
    grid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "benchmark=mine", f"records={grid / 'runs'}"]
    monkeypatch.setattr("sys.argv", words)
    run.main()
    shown = capsys.readouterr().out
    assert (
        "[1/4] digits, dense, seed 0" in shown
        and "[4/4] digits, soft, seed 1" in shown
        and "by the mean" in shown
    )
    files = {path: path.stat().st_mtime_ns for path in (grid / "runs").glob("*/*/*.json")}
    assert len(files) == 4
    gone = next(
        path for path in files if (found := read_record(path)).router == "soft" and found.seed == 1
    )
    gone.unlink()
    monkeypatch.setattr("sys.argv", words)
    run.main()  # only what is missing
    again = {path: path.stat().st_mtime_ns for path in (grid / "runs").glob("*/*/*.json")}
    assert again.keys() == files.keys() and {
        path for path in files if files[path] != again[path]
    } == {gone}


def test_lookahead_and_other_scores_are_separate_contestants(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def record(router: str, primary: str, value: float, leaks: bool = False) -> RunRecord:
        quality, config = (
            {primary: Quality(value=value, direction="min", n=9)},
            {"allow_noncausal": leaks, "slots_per_token": None, "seed": 0},
        )
        return RunRecord.model_construct(
            task="stdlib",
            router=router,
            router_causal=not leaks,
            seed=0,
            primary=primary,
            quality=quality,
            config=config,
        )

    causal = [record("switch", "bits_per_byte", 2.0), record("hash", "bits_per_byte", 1.75)]
    others = [record("usmoe", "bits_per_byte", 0.5, leaks=True), record("soft", "perplexity", 9.0)]
    print_comparison([*causal, record("hash", "bits_per_byte", 1.25), *others])
    found = " ".join(capsys.readouterr().out.split())  # titles are broken into lines
    assert found.count("by the mean over seeds") == 3 and found.count("SEES LATER TOKENS,") == 1
    assert (
        "stdlib, SEES LATER TOKENS: no dense run to compare with; type router=dense,usmoe" in found
    )
    assert "1.7500, 1.2500" in found and found.index("1.5000") < found.index(
        "switch"
    ) < found.index("usmoe")


@pytest.mark.slow
def test_a_grid_upcycles_what_it_trained(
    grid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (grid / "mine.yaml").write_text(UPCYCLING, encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["run", "benchmark=mine", f"records={grid / 'runs'}"])
    run.main()
    shown = " ".join(capsys.readouterr().out.split())
    for way in (
        "dense, as upcycled",
        "dense, continued",
        "switch, upcycled",
        "dense, depth x2",
        "switch, from scratch",
    ):
        assert shown.count(way) >= 2, way  # at extra FLOPs and at extra seconds
    records = [read_record(path) for path in (grid / "runs").glob("*/*/*.json")]
    assert len(records) == 5 and sum(record.sunk is not None for record in records) == 3
    assert all(record.sunk is None or record.sunk.steps == 10 for record in records)
    (commands,) = {
        record.command.count("upcycle=") for record in records if record.sunk is not None
    }
    assert commands == 1


@pytest.mark.slow
def test_a_failed_dense_run_is_not_upcycled(
    grid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (grid / "mine.yaml").write_text(
        UPCYCLING.replace("name: start", "name: start\n    seeds: [7]"), encoding="utf-8"
    )
    monkeypatch.setattr(
        "sys.argv", ["run", "benchmark=mine", f"records={grid / 'runs'}", "data.workers=0"]
    )
    with pytest.raises(SystemExit) as stop:
        run.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("there is no run 'start' of seed 0 to upcycle") == 3


def test_quality_at_equal_budgets_by_hand() -> None:
    """The dense run took 10 steps of 2 FLOPs; upcycled steps cost 4.

    Within +50 %, 10 FLOPs, end 2 of them.
    """
    dense = Sunk(checkpoint="last.ckpt", content="", steps=10, seconds=5.0, flops=20.0)

    def points(first: int, count: int, cost: float, base: float) -> list[CurvePoint]:
        steps = range(first, first + count)
        costs = [base + cost * (step - first + 1) for step in steps]
        return [
            CurvePoint(step=s, seconds=f / 4, flops=f, loss=0.0, quality=f)
            for s, f in zip(steps, costs, strict=True)
        ]

    upcycled = RunRecord.model_construct(router="soft", sunk=dense, curve=points(11, 5, 4.0, 20.0))
    assert (
        quality_at(upcycled, dense, 0.1, "flops") is None
        and quality_at(upcycled, dense, 0.2, "flops") == 24
    )
    assert (
        quality_at(upcycled, dense, 0.5, "flops") == 28
        and quality_at(upcycled, dense, 1.0, "flops") == 40
    )
    assert quality_at(upcycled, dense, 0.5, "seconds") == 28  # 5 + 2.5 seconds: up to 30 FLOPs
    scratch = RunRecord.model_construct(
        router="soft", sunk=None, curve=points(1, 10, 4.0, 0.0), steps=20
    )
    assert (
        quality_at(scratch, dense, 0.5, "flops") == 8
        and quality_at(scratch, dense, 1.0, "flops") == 20
    )
    assert (method_of(upcycled, dense), method_of(scratch, dense)) == (
        "soft, upcycled",
        "soft, from scratch",
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["benchmark=qiuck"], "unknown benchmark 'qiuck'; nearest: "),
        (["benchmark=mine", "seed=1"], "a benchmark is a frozen grid; allowed beside it"),
        (["benchmark=mine", "router=soft"], "grid of routers of its own; .*=lite router=soft$"),
        (["benchmark=mine", "router.k=2"], "grid of routers of its own; .*=lite router=soft$"),
        (["benchmark=mine", "source.imagenet=here"], "unknown task in source.<task> 'imagenet'"),
    ],
)
def test_bad_words(words: list[str], says: str, grid: Path) -> None:
    with pytest.raises(UserError, match=says):
        plan(words)
