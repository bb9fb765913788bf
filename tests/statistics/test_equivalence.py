"""Power and equality: against scipy's noncentral t, by hand, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moesuite.statistics.equivalence import compare, compare_seeds, detectable, equivalence


@pytest.mark.parametrize(
    ("n", "comparisons"), [(2, 1), (5, 1), (5, 10), (5, 190), (10, 45), (30, 1)]
)
def test_a_detectable_difference_is_shown_with_a_chance_of_80_percent(
    n: int, comparisons: int
) -> None:
    """The power of the test at that difference, by scipy.

    P(T > critical) for the noncentral t of it.
    """
    deviation = 0.3
    critical = stats.t.ppf(1 - 0.05 / comparisons / 2, n - 1)
    noncentrality = detectable(deviation, n, comparisons) * math.sqrt(n) / deviation
    assert stats.nct.sf(critical, n - 1, noncentrality) == pytest.approx(0.8, abs=1e-6)


def test_a_detectable_difference_of_the_books() -> None:
    """34 pairs show a difference of half a standard deviation with 80 % (Cohen, 1988).

    33.4 by the exact formula.
    """
    assert detectable(1.0, 34) < 0.5 < detectable(1.0, 33)


def test_power_by_simulation() -> None:
    draw = np.random.default_rng(0).normal(detectable(2.0, 5, 3), 2.0, size=(4000, 5))
    shown = stats.ttest_1samp(draw, 0.0, axis=1).pvalue < 0.05 / 3
    assert abs(shown.mean() - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 4000)


@given(
    mean=st.floats(-0.03, 0.03),
    deviation=st.floats(0.001, 0.05),
    n=st.integers(2, 12),
)
def test_two_one_sided_tests_are_those_of_scipy(mean: float, deviation: float, n: int) -> None:
    """Differences with exactly this mean and deviation; scipy tests each bound by itself."""
    steps = np.arange(n) - (n - 1) / 2
    values = mean + deviation * steps / steps.std(ddof=1)
    above = stats.ttest_1samp(values, -0.01, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 0.01, alternative="less").pvalue
    assert equivalence(mean, deviation, n, 0.01) == pytest.approx(
        max(above, below), rel=1e-6, abs=1e-12
    )


def test_equality_by_hand() -> None:
    """Differences 1, 2, 3, 4, 5: mean 3, sd 1.5811, error 0.7071.

    To a margin of 6: t = 3 / 0.7071 = 4.2426, 4 df.
    """
    found = compare([1.0, 2.0, 3.0, 4.0, 5.0], margin=6.0, comparisons=1)
    assert found.equal == pytest.approx(stats.t.sf(4.2426, 4), rel=1e-4)
    assert found.half == pytest.approx(2.7764 * 0.7071, rel=1e-4)
    assert (found.mean, found.n) == (3.0, 5)


def test_tied_is_not_equal() -> None:
    """The same small mean difference.

    With much noise neither is shown, with little that it is below the margin.
    """
    wide, narrow = ([0.002 + noise * step for step in (-2, -1, 0, 1, 2)] for noise in (0.01, 0.001))
    loose, tight = (compare(values, margin=0.01, comparisons=1) for values in (wide, narrow))
    assert (
        loose.p is not None
        and tight.p is not None
        and loose.equal is not None
        and tight.equal is not None
    )
    assert loose.p > 0.05 and loose.equal > 0.05 and tight.p > 0.02 and tight.equal < 0.001
    assert loose.detectable == pytest.approx(10 * (tight.detectable or 0.0))


def test_too_few_values_or_no_spread_show_nothing() -> None:
    few, steady = compare([0.1, 0.2], 0.5, 1), compare([0.1] * 5, 0.5, 1)
    assert (few.half, few.p, few.equal, few.detectable) == (None, None, None, None)
    assert (steady.half, steady.p, steady.equal, steady.detectable) == (0.0, None, None, None)
    assert compare([0.1, 0.2, 0.3, 0.4, 0.5], None, 1).equal is None
    assert compare_seeds({0: 1.0}, {1: 1.0}, 0.1, 1) is None
