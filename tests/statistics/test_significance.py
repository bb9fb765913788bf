"""Statistics of the board: against scipy, by hand, and by simulation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moesuite.statistics.significance import difference, estimate, holm, pareto, tie_groups

NUMBERS = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


@given(st.lists(NUMBERS, min_size=5, max_size=9), st.integers(0, 2**31))
def test_differences_are_those_of_scipy(ours: list[float], seed: int) -> None:
    theirs = [
        value + noise
        for value, noise in zip(
            ours, np.random.default_rng(seed).normal(size=len(ours)), strict=True
        )
    ]
    found = difference(by_seed(*ours), by_seed(*theirs))
    expected = stats.ttest_rel(ours, theirs)
    low, high = expected.confidence_interval(0.95)
    assert found is not None and found.n == len(ours) and found.half is not None
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx(
        (low, high), rel=1e-6, abs=1e-9
    )


def test_few_seeds_are_points() -> None:
    found = difference(by_seed(0.5, 0.7, 0.9, 1.0), {1: 0.6, 2: 0.6, 7: 0.1})
    assert found is not None and found.mean == pytest.approx(0.2)  # seeds 1 and 2: 0.1 and 0.3
    assert (found.half, found.p, found.n) == (None, None, 2)
    assert difference({0: 1.0}, {1: 1.0}) is None
    with pytest.raises(ValueError, match="all of them finite"):
        estimate([1.0, math.nan])
    with pytest.raises(ValueError, match="at least one number"):
        estimate([])


def test_values_without_any_spread() -> None:
    """One test example of 20 more in each of five seeds.

    No test is possible, and nothing is shown.
    """
    same, steady = estimate([0.0] * 5), estimate([0.05] * 5)
    assert (same.p, same.half, steady.p, steady.half) == (None, 0.0, None, 0.0)
    noise = [0.50, 0.55, 0.45, 0.60, 0.50]
    values = {
        "a": by_seed(*noise),
        "b": by_seed(*(value + 0.05 for value in noise)),
    }  # equal up to rounding
    assert tie_groups(values, "max") == {"a": 1, "b": 1}


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1.

    0.04, 0.06, 0.06, and 0.04 that is raised to the one before.
    """
    assert holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02}) == pytest.approx(
        {"d": 0.06, "a": 0.04, "c": 0.06, "b": 0.06}
    )
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0} and holm({}) == {}


@given(st.dictionaries(st.integers(0, 50), st.floats(0, 1), max_size=12))
def test_holm_never_lowers_and_keeps_the_order(p: dict[int, float]) -> None:
    corrected = holm(p)
    assert corrected.keys() == p.keys() and all(p[key] <= corrected[key] <= 1 for key in p)
    ordered = sorted(p, key=lambda key: p[key])
    assert all(corrected[a] <= corrected[b] for a, b in pairwise(ordered))


def test_tie_groups_by_hand() -> None:
    """a and b differ by noise of the same size as their distance; c is far below in every seed."""
    values = {
        "c": by_seed(0.50, 0.51, 0.49, 0.50, 0.52, 0.48),
        "b": by_seed(0.80, 0.85, 0.79, 0.84, 0.78, 0.83),
        "a": by_seed(0.82, 0.82, 0.83, 0.82, 0.83, 0.81),
    }
    assert tie_groups(values, "max") == {"a": 1, "b": 1, "c": 2}
    assert tie_groups(values, "min") == {"c": 1, "b": 2, "a": 2}
    few = {name: {seed: row[seed] for seed in range(3)} for name, row in values.items()}
    assert set(tie_groups(few, "max").values()) == {1}  # three seeds show nothing
    assert tie_groups({"a": {0: 1.0}}, "max") == {"a": 1} and tie_groups({}, "max") == {}


def test_a_winner_of_every_shared_seed_is_not_beaten() -> None:
    """b leads by its mean over twelve seeds, yet a is better in each of the six that both have."""
    noise = [0.001, -0.002, 0.002, 0.0, -0.001, 0.001]
    a = {seed: 0.5 + value for seed, value in enumerate(noise)}
    b = dict.fromkeys(range(6), 0.4) | dict.fromkeys(range(6, 12), 0.9)
    assert tie_groups({"a": a, "b": b}, "max") == {"a": 1, "b": 1}


def test_the_interval_covers_the_truth_in_95_of_100_boards() -> None:
    """2,000 boards of five seeds.

    What routers of a seed have in common is ten times their own noise.
    """
    draw = np.random.default_rng(0)
    common, noise = draw.normal(size=(2000, 5, 1)), 0.1 * draw.normal(size=(2000, 5, 2))
    boards = common + noise + np.array([0.3, 0.0])
    covered = 0
    for board in boards:
        found = difference(by_seed(*board[:, 0]), by_seed(*board[:, 1]))
        assert found is not None and found.half is not None
        covered += abs(found.mean - 0.3) <= found.half
    assert 0.92 <= covered / 2000 <= 0.98


def test_equal_routers_are_one_group_in_95_of_100_boards() -> None:
    """Holm keeps the chance of any wrong pair below 5 %.

    Measured with six equal routers over five seeds, on 400 boards.
    """
    draw = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        board = draw.normal(size=(5, 1)) + draw.normal(size=(5, 6))
        groups = tie_groups({str(router): by_seed(*board[:, router]) for router in range(6)}, "max")
        wrong += len(set(groups.values())) > 1
    assert wrong / 400 <= 0.07


def test_the_front_by_hand() -> None:
    costs, qualities = [1.0, 2.0, 2.0, 3.0, 1.0], [0.5, 0.7, 0.6, 0.7, 0.5]
    assert pareto(costs, qualities, "max") == [
        True,
        True,
        False,
        False,
        True,
    ]  # twins are both on it
    assert pareto(costs, qualities, "min") == [True, False, False, False, True]


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12))
def test_every_point_off_the_front_is_beaten_by_one_on_it(
    points: list[tuple[float, float]],
) -> None:
    costs, qualities = [cost for cost, _ in points], [quality for _, quality in points]
    front = pareto(costs, qualities, "max")
    assert any(front)
    for (cost, quality), on in zip(points, front, strict=True):
        better = [
            p for p, f in zip(points, front, strict=True) if f and p[0] <= cost and p[1] >= quality
        ]
        assert better and on == all(p == (cost, quality) for p in better)
