"""Which capacity? Quality against slots per token."""

from __future__ import annotations

import pytest

from moesuite.experiments.benchmark_report import print_comparison, run_labels
from moesuite.experiments.capacity_report import capacity_rows, sufficient_capacity
from moesuite.records.record import Quality, RunRecord

SEEDS = range(5)
# +0.1 from 0.5 to 1 slots on every seed; from 1 to 2 a mean of 0.001 that is noise
RISING = {
    0.5: {seed: 0.70 + 0.01 * seed for seed in SEEDS},
    1.0: {seed: 0.80 + 0.01 * seed + 0.001 * (seed % 2) for seed in SEEDS},
    2.0: {seed: 0.801 + 0.01 * seed + (0.002 if seed == 4 else -0.0005) for seed in SEEDS},
}


def records(router: str, qualities: dict[float, dict[int, float]]) -> list[RunRecord]:
    return [
        RunRecord.model_construct(
            task="digits",
            router=router,
            seed=seed,
            primary="top1",
            quality={"top1": Quality(value=value, direction="max", n=10)},
            config={"slots_per_token": capacity, "allow_noncausal": False},
            sunk=None,
        )
        for capacity, values in qualities.items()
        for seed, value in values.items()
    ]


def test_the_smallest_capacity_that_is_enough() -> None:
    assert sufficient_capacity(RISING, "max") == 1.0
    assert sufficient_capacity(RISING, "min") == 0.5  # of a loss the first is the best
    assert sufficient_capacity({1.0: RISING[1.0]}, "max") == 1.0
    assert (
        sufficient_capacity({capacity: {0: 0.5} for capacity in RISING}, "max") is None
    )  # one seed says nothing


def test_a_line_for_each_router_with_its_interval() -> None:
    """Half an interval of 0.70, 0.71, ... 0.74: t = 2.776 at 4 degrees, times 0.01581 / sqrt(5)."""
    first, second = capacity_rows([*records("soft", RISING), *records("switch", {1.0: {0: 0.5}})])
    assert first[:2] == ["soft", "0.7200 ±0.0196"] and first[-1] == "1"
    assert second == ["switch", "–", "0.5000", "–", "too few seeds"]


def test_shown_beside_the_runs_without_a_capacity(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    dense = records("dense", {1.0: dict.fromkeys(SEEDS, 0.9)})
    for record in dense:
        record.config["slots_per_token"] = None
    print_comparison([*records("soft", RISING), *dense])
    shown = capsys.readouterr().out
    assert "digits: top1 at slots per token" in shown and "fewest slots per token whose" in shown
    assert "digits, by the mean over seeds" in shown and "0.9000" in shown


def test_runs_of_a_router_are_named_by_their_differences() -> None:
    def one(router: str, seed: int, **config: object) -> RunRecord:
        return RunRecord.model_construct(
            router=router, config={"seed": seed, "data": {"seed": seed}, **config}
        )

    found = [
        one("dense", 0, task={"head": "a"}),
        one("dense", 1, task={"head": "b"}),
        one("soft", 0, task={"head": "a"}),
    ]
    assert run_labels(found) == ["dense, task.head=a", "dense, task.head=b", "soft"]
