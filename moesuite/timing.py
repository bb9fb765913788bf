"""Measured time, interleaved with the matched dense model in one process: ratios survive a noisy machine."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch

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
    warm = sum(seconds_of(function) for function in functions)
    rounds = min(most, max(least, int(seconds / max(warm, 1e-9))))
    samples: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, sample in zip(functions, samples, strict=True):
            sample.append(seconds_of(function))
    return samples


def seconds_of(function: Callable[[], object]) -> float:
    """Return the seconds of one call, to the end of its work on the device.

    Not torch.utils.benchmark: its `timeit(1)` runs the function twice more to warm up, which an interleaved
    measurement has done already.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begun = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


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
