"""Measured time, always interleaved with the matched dense model in the same process: ratios survive a noisy machine."""

from __future__ import annotations

import resource
import statistics
import sys
from collections.abc import Callable, Sequence

import torch
from torch.utils.benchmark import Timer

from moesuite.record import Timing


def interleaved(
    functions: Sequence[Callable[[], object]], seconds: float, least: int = 5, most: int = 200
) -> list[list[float]]:
    """Time `functions` in turns and return the seconds of each call.

    Args:
        functions: what to time; each is called once before, to warm up.
        seconds: budget for all rounds together, > 0.
        least, most: bounds on the number of rounds; `least` is kept even beyond the budget.
    """
    timers = [Timer("f()", globals={"f": function}, num_threads=torch.get_num_threads()) for function in functions]
    warm = sum(timer.timeit(1).mean for timer in timers)  # timeit warms up by itself
    rounds = min(most, max(least, int(seconds / max(warm, 1e-9))))
    samples: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for timer, sample in zip(timers, samples, strict=True):
            sample.append(timer.timeit(1).mean)
    return samples


def compare(function: Callable[[], object], dense: Callable[[], object], seconds: float) -> Timing:
    """Time `function` against its dense counterpart; the ratio is the median of the rounds' ratios."""
    ours, theirs = interleaved([function, dense], seconds)
    quartiles = statistics.quantiles(ours, n=4)
    return Timing(
        median=statistics.median(ours),
        iqr=quartiles[2] - quartiles[0],
        n=len(ours),
        ratio_to_dense=statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        dense_median=statistics.median(theirs),
    )


def peak_memory() -> int:
    """Return the peak memory in bytes: allocated on the GPU where there is one, else the process's resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
