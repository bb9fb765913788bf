"""Agreement of figures: up to float noise, or within the tolerance of seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from scipy import special

NOISE, SMALLEST = 1e-4, 1e-6  # relative, absolute: rounding between processors
ENOUGH = 3  # seeds for a tolerance
LEVEL = 0.05


def differing(
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    relative: float = NOISE,
    absolute: float = SMALLEST,
) -> list[str]:
    """Return the names of figures that differ by more than noise or are missing, largest first."""
    sizes: dict[str, float] = {}
    for name in ours.keys() | theirs.keys():
        a, b = ours.get(name, math.nan), theirs.get(name, math.nan)
        if not abs(a - b) <= absolute + relative * max(abs(a), abs(b)):
            sizes[name] = math.inf if math.isnan(a - b) else abs(a - b) / max(abs(a), abs(b))
    return sorted(sizes, key=lambda name: (-sizes[name], name))


def tolerance(values: Sequence[float], metrics: int) -> float | None:
    """Return the largest difference that seeds explain, or None below `ENOUGH` seeds.

    Args:
        values: of a metric, one a seed.
        metrics: that are judged together, >= 1.
    """
    if len(values) < ENOUGH:
        return None
    quantile = float(special.stdtrit(len(values) - 1, 1 - LEVEL / 2 / metrics))
    return quantile * math.sqrt(2) * statistics.stdev(values)
