"""Not shown to differ is not equal: what a comparison could have shown, and whether equality is shown. No torch here.

The smallest detectable difference is that of a two-sided paired t-test (noncentral t; Cohen,
Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2). Equality within a margin
is shown by two one-sided tests (Schuirmann, 1987, https://doi.org/10.1007/BF01068419). Both hold
for normal differences.
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
    """Two contestants: their mean difference, and what can be said of it.

    Attributes:
        mean: difference over shared seeds.
        half: half of its 95 % interval; None for fewer than `ENOUGH` seeds.
        n: shared seeds.
        p: two-sided, of no difference; not corrected; None likewise, and without any spread, like
            all that follows.
        equal: p-value of two one-sided tests, of a difference as large as the margin; not
            corrected; None without one.
        detectable: smallest true difference that is shown with a chance of `POWER`, after
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
        values: a difference for each seed, or each task; at least one, finite.
        margin: largest difference that counts as none, > 0; None: there is no such.
        comparisons: number of tests that share `LEVEL`, at least 1.
        enough: number of values from which on there is more than a mean; at least 2.
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
    """Compare two contestants over the seeds that both have; None if there is none."""
    shared = sorted(ours.keys() & theirs.keys())
    return (
        compare([ours[seed] - theirs[seed] for seed in shared], margin, comparisons)
        if shared
        else None
    )


def equivalence(mean: float, deviation: float, n: int, margin: float) -> float:
    """Return the p-value of two one-sided t-tests: the larger of those of the difference being >= margin, <= -margin.

    Args:
        mean, deviation: of the differences, > 0, and their number `n` >= 2.
        margin: > 0, fixed before the differences are seen.
    """
    inside = margin - abs(mean)  # of the nearer bound
    return float(special.stdtr(n - 1, -inside * math.sqrt(n) / deviation))


def detectable(deviation: float, n: int, comparisons: int = 1) -> float:
    """Return the smallest true difference that a two-sided t-test shows with a chance of `POWER`.

    With noncentrality λ = difference · √n / deviation, P(T > t(1 - level / 2)) is the power; that
    the test may reject on the wrong side is left out, a chance below 0.001.

    Args:
        deviation: standard deviation of the differences, of which there are `n` >= 2.
        comparisons: number of tests that share `LEVEL` (Bonferroni: what Holm asks of the first).
    """
    critical = special.stdtrit(n - 1, 1 - LEVEL / (2 * comparisons))
    return float(special.nctdtrinc(n - 1, 1 - POWER, critical)) * deviation / math.sqrt(n)
