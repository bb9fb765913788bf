"""Minimum detectable difference, and tests of equivalence: not different is not equal.

The minimum detectable difference is that of a two-sided paired t-test (noncentral t; Cohen,
Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2). Equivalence within a
margin is shown by two one-sided tests (Schuirmann, 1987, https://doi.org/10.1007/BF01068419). Both
assume normal differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from moesuite.statistics.significance import ENOUGH, LEVEL, BySeed, estimate

POWER = 0.8  # with which a detectable difference is shown


@dataclass(frozen=True)
class Comparison:
    """Mean difference of two contestants, and what can be inferred from it.

    Attributes:
        mean: of the difference over shared seeds.
        half: half-width of its 95 % interval; None below `ENOUGH` seeds.
        n: number of shared seeds.
        p: two-sided p-value of no difference, not corrected; this and all below are None if `half`
            is, and for differences without spread.
        equal: p-value of two one-sided tests against the margin, not corrected; None without a
            margin.
        detectable: smallest true difference that is shown with probability `POWER`, after
            correction.
    """

    mean: float
    half: float | None
    n: int
    p: float | None
    equal: float | None
    detectable: float | None


def compare(
    values: Sequence[float], margin: float | None, comparisons: int, enough: int = ENOUGH
) -> Comparison:
    """Compare two contestants by their differences.

    Args:
        values: one difference per seed, or per task; at least one, finite.
        margin: equivalence margin, > 0, or None.
        comparisons: number of tests that share `LEVEL`, >= 1.
        enough: number of values that inference needs, >= 2.
    """
    over = estimate(values, enough)
    if over.half is None or over.p is None:
        return Comparison(over.mean, over.half, over.n, None, None, None)
    deviation = float(np.std(values, ddof=1))
    return Comparison(
        mean=over.mean,
        half=over.half,
        n=over.n,
        p=over.p,
        equal=None if margin is None else equivalence(over.mean, deviation, over.n, margin),
        detectable=detectable(deviation, over.n, comparisons),
    )


def compare_seeds(
    ours: BySeed, theirs: BySeed, margin: float | None, comparisons: int
) -> Comparison | None:
    """Compare two contestants over their shared seeds; return None if there are none."""
    shared = sorted(ours.keys() & theirs.keys())
    return (
        compare([ours[seed] - theirs[seed] for seed in shared], margin, comparisons)
        if shared
        else None
    )


def equivalence(mean: float, deviation: float, n: int, margin: float) -> float:
    """Return the p-value of two one-sided t-tests: the larger of the two.

    The null hypotheses are difference >= margin and difference <= -margin.

    Args:
        mean, deviation: of the differences, > 0, and their number `n` >= 2.
        margin: > 0, fixed before the differences are seen.
    """
    inside = margin - abs(mean)  # of the nearer bound
    return float(special.stdtr(n - 1, -inside * math.sqrt(n) / deviation))


def detectable(deviation: float, n: int, comparisons: int = 1) -> float:
    """Return the smallest true difference that a two-sided t-test shows with probability `POWER`.

    With noncentrality λ = difference · √n / deviation, P(T > t(1 - level / 2)) is the power;
    rejection on the wrong side, with probability below 0.001, is left out.

    Args:
        deviation: standard deviation of the differences, of which there are `n` >= 2.
        comparisons: number of tests that share `LEVEL` (Bonferroni: what Holm asks of the first).
    """
    critical = special.stdtrit(n - 1, 1 - LEVEL / (2 * comparisons))
    return float(special.nctdtrinc(n - 1, 1 - POWER, critical)) * deviation / math.sqrt(n)
