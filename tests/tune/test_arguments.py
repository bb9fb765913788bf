"""The command line of a study: bad input is one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.experiments.launchers import parse_launcher
from moesuite.tune.__main__ import main


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tune=capacty"], "nearest: capacity"),
        (
            ["tune.space.router.kk=range(1,3)", "router=token_choice"],
            "unknown option of router=token_choice 'kk'",
        ),
        (["tune.space.optim.lrr=interval(1,2)"], "unknown option 'optim.lrr'; nearest: optim.lr"),
        (["tune.space.num_experts=range(0,5)"], "num_experts=0"),
        (["tune.space.num_experts=range(4,1000000001)"], "num_experts=1000000000"),
        (["tune.space.router.jitter=interval(0.1,5)", "router=switch"], "router.jitter=5.0"),
        (
            ["tune=experts", "objective=quality,latency", "measure=false"],
            "latency with measure=false: no run is timed",
        ),
        (
            ["tune=experts", "max_ms=3", "measure=false"],
            "max_ms with measure=false: no run is timed; type measure=true",
        ),
        (
            ["tune=slots", "router=hash", "tune.space.router.slots_per_expert=range(1,3)"],
            "unknown option of router=hash",
        ),
        (["tune=router", "router=hash"], "nothing to search for router=hash"),
        (
            ["tune=experts", "objective=speed"],
            "should be 'quality', 'quality,flops' or 'quality,latency'",
        ),
        (["tune=experts", "objective=quality,flops", "pruner=median"], "these are not pruned"),
        (["tune=experts", "pruner=best"], "pruner=best: input should be 'none', 'median' or"),
        (["tune=experts", "trials=0"], "trials=0: input should be greater than or equal to 1"),
        (
            ["tune=experts", "workers=1000000"],
            "workers=1000000: input should be less than or equal",
        ),
        (["tune=experts", "max_gflop=much"], "max_gflop=much: input should be a valid number"),
        (["tune=experts", "seed=1"], "a study sets it itself"),
        (["tune=experts", "storage=nosuch://here"], "storage=nosuch://here"),
        (["tune=experts", "task=digitts"], "nearest: digits"),
    ],
)
def test_bad_options_are_one_clear_line(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tune", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == 2 and says in error and error.count("\n") == 1
    assert not list(tmp_path.glob("runs/*/*/*.json"))


@pytest.mark.parametrize(
    ("word", "folder"),
    [
        ("records=a", "a"),
        ("records='a, b'", "a, b"),
        ('records="a,b"', "a,b"),
        ("records=a b", "a b"),
    ],
)
def test_the_records_folder_is_read_as_the_run_reads_it(word: str, folder: str) -> None:
    assert parse_launcher(["seed=1", word])[0].records == folder
