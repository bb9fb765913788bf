"""The end of a sweep: paired differences to the dense model, missing seeds, recorded runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from moesuite.experiments.head_to_head import Contest, contests, differences, print_head_to_head
from moesuite.experiments.sweep import Outcome, Progress
from moesuite.progress import duration
from moesuite.records.record import Quality, RunRecord
from tests.helpers import TINY_RUN, invoke


def record(router: str, seed: int, value: float, metric: str = "top1", **options: Any) -> RunRecord:
    config: dict[str, Any] = {
        "seed": seed,
        "router_seed": seed,
        "num_experts": 8,
        "records": "runs",
        "init": None,
        "router": {"name": router},
        "data": {"seed": seed, "batch_size": 64},
        "backbone": {"seed": seed},
        "optim": {"lr": 0.1},
        "allow_noncausal": False,
        "slots_per_token": None,
    }
    for key, option in options.items():
        section, _, name = key.rpartition("__")
        (config[section] if section else config)[name] = option
    quality = {metric: Quality(value=value, direction="min" if metric == "loss" else "max", n=9)}
    return RunRecord.model_construct(
        task="digits",
        router=router,
        seed=seed,
        primary=metric,
        quality=quality,
        config=config,
        sunk=None,
    )


def contest(records: list[RunRecord]) -> Contest:
    (only,) = contests(records)
    return only


def test_differences_by_hand() -> None:
    """Gains 0.1, 0.2, 0.3, 0.2, 0.2.

    Mean 0.2, deviation sqrt(0.02 / 4) = 0.0707, half 2.776 · 0.0707 / sqrt(5).
    """
    dense = [record("dense", seed, 0.5) for seed in range(5)]
    soft = [record("soft", seed, 0.5 + gain) for seed, gain in enumerate((0.1, 0.2, 0.3, 0.2, 0.2))]
    (row,) = differences(contest([*dense, *soft]))
    assert (row.contestant, row.seeds, row.missing) == ("soft", 5, "")
    assert row.difference == pytest.approx(0.2) and row.half == pytest.approx(0.08779, abs=1e-4)
    assert row.mean == pytest.approx(0.7)


def test_seeds_that_one_of_both_lacks_are_named_and_do_not_count() -> None:
    """Shared are the seeds 1 and 2; of seed 0 there is no soft run, of seed 3 no dense one."""
    dense = [record("dense", seed, 0.5) for seed in (0, 1, 2)]
    soft = [record("soft", seed, value) for seed, value in ((1, 0.6), (2, 0.8), (3, 9.0))]
    (row,) = differences(contest(dense + soft))
    assert row.difference == pytest.approx(0.2) and row.half is None and row.seeds == 2
    assert row.missing == "soft lacks seed 0; dense lacks seed 3"
    (alone,) = differences(contest([dense[0], soft[2]]))
    assert alone.difference is None and alone.seeds == 0


def test_one_dense_model_stands_beside_all_numbers_of_experts() -> None:
    runs = [
        record("soft", 0, value, num_experts=experts) for experts, value in ((4, 0.6), (8, 0.9))
    ]
    found = contest(
        [record("dense", 0, 0.5, num_experts=4), record("dense", 0, 0.5, num_experts=8), *runs]
    )
    assert [(row.contestant, row.difference) for row in differences(found)] == [
        ("soft, num_experts=8", pytest.approx(0.4)),
        ("soft, num_experts=4", pytest.approx(0.1)),
    ]


def test_smaller_is_better_where_the_metric_says_so() -> None:
    values = {"dense": 1.0, "soft": 1.5, "hash": 0.5}
    found = contest([record(router, 0, value, "loss") for router, value in values.items()])
    assert [row.contestant for row in differences(found)] == ["hash", "soft"]


def test_other_options_are_separate_contests_and_checkpoints_are_not() -> None:
    """Dense at both learning rates.

    A run that goes on from its own checkpoint is no other setting.
    """
    rates = [
        record(router, 0, rate, optim__lr=rate)
        for router in ("dense", "soft")
        for rate in (0.1, 0.2)
    ]
    assert [(one.setting, sorted(one.qualities)) for one in contests(rates)] == [
        ("optim.lr=0.1", ["dense", "soft"]),
        ("optim.lr=0.2", ["dense", "soft"]),
    ]
    tuned = [
        record(router, seed, 0.1, init=f"{router}{seed}.ckpt")
        for router in ("dense", "soft")
        for seed in (0, 1)
    ]
    (row,) = differences(contest(tuned))
    assert row.seeds == 2


def test_without_a_dense_run_one_line_gives_the_command() -> None:
    console = Console(width=200, record=True)
    print_head_to_head(console, "digits", [record("soft", 0, 0.1), record("hash", 0, 0.2)])
    text = console.export_text()
    assert (
        text == "digits: no dense run to compare with; type router=dense,soft,hash for the "
        "difference to it\n"
    )


def test_how_long_the_others_will_take() -> None:
    """Two runs in 20 s, one of them recorded already: 20 s for each of the two that are left."""
    progress = Progress(total=4, begun=100.0)
    assert progress.count(Outcome(was_recorded=True), now=100.0) == "1 of 4 done"
    assert progress.count(Outcome(), now=120.0) == "2 of 4 done, about 40 s left"
    assert (
        progress.recorded_before()
        == "1 of 4 runs was already recorded; type force=true to run it again"
    )
    assert progress.count(Outcome(was_recorded=True), now=120.0) and not progress.count(
        Outcome(), now=140.0
    )
    assert (
        progress.recorded_before()
        == "2 of 4 runs were already recorded; type force=true to run them again"
    )
    assert Progress(3).recorded_before() == ""
    assert [duration(seconds) for seconds in (89.0, 90.0, 5399.0, 5400.0, 36000.0)] == [
        "89 s",
        "2 min",
        "90 min",
        "1.5 h",
        "10.0 h",
    ]


@pytest.mark.slow
def test_a_sweep_ends_with_differences_and_says_what_was_recorded_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    words = ["-m", "router=dense,soft", "seed=0,1", *TINY_RUN]
    assert invoke(monkeypatch, *words) == 0
    first = capsys.readouterr().out
    assert "digits: top1 - dense, paired by seed" in first and "3 seeds too few" in first
    assert "1 of 4 done, about " in first and " left\n" in first and "already recorded" not in first
    assert invoke(monkeypatch, *words) == 0
    again = capsys.readouterr().out
    assert again.count("already recorded on 20") == 4 and "about" not in again
    assert "4 of 4 runs were already recorded; type force=true to run them again" in again
    assert invoke(monkeypatch, "router=soft", "seed=1", *TINY_RUN) == 0
    assert capsys.readouterr().out.count("type force=true to run it again") == 1
