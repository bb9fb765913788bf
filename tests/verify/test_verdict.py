"""Verdicts by hand: tolerances, chance, and costs to the last digits."""

from __future__ import annotations

import math

import pytest

from moesuite.records.record import RunRecord
from moesuite.records.verification import is_seed_of, judge
from moesuite.statistics.tolerance import differing, tolerance
from tests.leaderboard.records import record_of


def with_curve(record: RunRecord, loss: float) -> RunRecord:
    """Return a record of another training."""
    points = [point.model_copy(update={"loss": loss}) for point in record.curve]
    return record.model_copy(update={"curve": points})


def test_a_tolerance_by_hand() -> None:
    # s of (1, 2, 3) is 1, t(0.975; 2) = 4.3027, t(0.9875; 2) = 6.2053: t * sqrt(2) * 1
    assert tolerance([1.0, 2.0, 3.0], 1) == pytest.approx(4.302653 * math.sqrt(2), rel=1e-6)
    assert tolerance([1.0, 2.0, 3.0], 2) == pytest.approx(6.205347 * math.sqrt(2), rel=1e-6)
    assert tolerance([1.0, 2.0], 1) is None and tolerance([2.0] * 5, 1) == 0.0


def test_figures_that_differ_by_more_than_noise_the_largest_first() -> None:
    ours = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}
    assert differing(ours, {"a": 1.00009, "b": 1.01, "c": 1e-7, "e": 1.0}) == ["d", "e", "b"]


def test_verdicts_by_hand() -> None:
    """Top-1 of five seeds, 0.91 to 0.95 with the rerun's 0.93.

    s = 0.0158, t(0.975; 4) = 2.776, so the tolerance is 0.0621.
    """
    again = record_of("good", 0, 0.93)
    seeds = [record_of("good", seed, 0.90 + seed / 100) for seed in (1, 2, 4, 5)]
    assert judge(again, again, []).verdict == "equal"
    near, far = (with_curve(record_of("good", 0, value), 2.0) for value in (0.99, 0.995))
    verdict = judge(near, again, seeds)
    assert (
        verdict.verdict == "within"
        and verdict.seeds == 5
        and "no more than 5 seeds explain" in verdict.reason
    )
    assert verdict.metrics["top1"].tolerance == pytest.approx(
        2.776445 * math.sqrt(2) * math.sqrt(0.00025), rel=1e-5
    )
    assert judge(far, again, seeds).verdict == "different"
    assert "more than 5 seeds explain" in judge(far, again, seeds).reason
    few = judge(near, again, seeds[:1])
    assert (
        few.verdict == "different"
        and few.seeds == 0
        and "2 of 3 seeds give no tolerance" in few.reason
    )


def test_differences_beyond_chance_are_different() -> None:
    again = record_of("good", 0, 0.93)
    seeds = [record_of("good", seed, 0.90 + seed / 100) for seed in range(1, 6)]
    curve = [point.model_copy(update={"quality": 0.5}) for point in again.curve]
    lied = record_of("good", 0, 0.94).model_copy(update={"curve": curve})
    same_curve = judge(lied, again.model_copy(update={"curve": curve}), seeds)
    assert (same_curve.verdict, same_curve.reason) == (
        "different",
        "curve and routing agree, but not top1",
    )
    steps = judge(again.model_copy(update={"steps": 101}), again, seeds)
    assert steps.verdict == "different" and steps.reason.endswith(
        "decides differs: steps (recorded 101, again 100)"
    )
    assert judge(again.model_copy(update={"curve": curve}), again, seeds).reason.startswith(
        "metrics agree, but not the"
    )


def test_costs_that_no_routing_changes_are_equal_to_the_last_digits() -> None:
    """Of `record_of`, all costs but the padding that is executed are as expected.

    So is none of these, by noise.
    """
    again = record_of("good", 0, 0.93)
    seeds = [record_of("good", seed, 0.90 + seed / 100) for seed in range(1, 6)]
    near = with_curve(record_of("good", 0, 0.935), 2.0)
    assert again.compute is not None and judge(near, again, seeds).verdict == "within"

    def said(record: RunRecord, part: str, value: float) -> tuple[str, str]:
        assert record.compute is not None
        name, _, field = part.partition(" ")
        inner = getattr(record.compute, name)
        value = inner.model_copy(update={field: value}) if field else value
        verdict = judge(
            record.model_copy(update={"compute": record.compute.model_copy(update={name: value})}),
            again,
            seeds,
        )
        return verdict.verdict, verdict.reason

    start = "what the configuration alone decides differs: "
    assert said(near, "activated backbone", 1.00001e9) == (
        "different",
        f"{start}activated backbone (recorded 1000010000, again 1000000000)",
    )
    assert said(near, "training_step_flops", 0.0)[1].startswith(
        f"{start}training_step_flops (recorded 0, again"
    )
    assert (
        said(near, "executed padding", 1.1e8)[0] == "within"
    )  # it depends on the routing, which is another
    assert said(again, "executed padding", 1.001e8) == (  # the very same training
        "different",
        f"{start}executed padding (recorded 100100000, again 100000000)",
    )
    splits = again.model_copy(update={"splits": {**again.splits, "train": 1438}})
    assert (
        judge(splits, again, seeds).reason
        == f"{start}examples of train (recorded 1438, again 1437)"
    )


def test_seeds_of_one_run() -> None:
    record = record_of("good", 0)
    assert is_seed_of(record_of("good", 1), record) and not is_seed_of(record, record)
    assert not is_seed_of(record_of("good", 1, status="failed"), record)
    assert not is_seed_of(record_of("good", 1, config={"optim": {"lr": 0.5}}), record)
    assert not is_seed_of(record_of("good", 1, data_fingerprint="sha256:0ther"), record)
    assert not is_seed_of(record_of("good", 1, config={"study": "s"}), record)
    assert not is_seed_of(
        record_of("good", 1, protocol=record.protocol.model_copy(update={"router": 2})), record
    )
    assert is_seed_of(record_of("good", 1, config={"measure": False}), record)
