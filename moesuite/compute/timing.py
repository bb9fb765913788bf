"""Measured time, interleaved with the matched dense model in one process: ratios survive a noisy machine."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.autograd import profiler

from moesuite.records.compute import Timing

CPU = torch.device("cpu")


def interleaved(
    functions: Sequence[Callable[[], object]],
    seconds: float,
    least: int = 5,
    most: int = 200,
    device: torch.device = CPU,
) -> list[list[float]]:
    """Time `functions` in turns and return the seconds of each call.

    Args:
        functions: what to time; each is called once before, to warm up.
        seconds: budget for all rounds together, > 0.
        least, most: bounds on the number of rounds; `least` is kept even beyond the budget.
        device: that the functions compute on.
    """
    warm = sum(seconds_of(function, device) for function in functions)
    rounds = min(most, max(least, int(seconds / max(warm, 1e-9))))
    samples: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, sample in zip(functions, samples, strict=True):
            sample.append(seconds_of(function, device))
    return samples


def seconds_of(function: Callable[[], object], device: torch.device = CPU) -> float:
    """Return the seconds of one call: by CUDA events on a GPU, which works asynchronously, else by the clock.

    Not torch.utils.benchmark: its `timeit(1)` runs the function twice more to warm up, which an
    interleaved measurement has done already.
    """
    if device.type == "cuda":
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        function()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def compare(
    function: Callable[[], object],
    dense: Callable[[], object],
    seconds: float,
    device: torch.device = CPU,
) -> Timing:
    """Time `function` against its dense counterpart; the ratio is the median of the rounds' ratios."""
    return timing_of(*interleaved([function, dense], seconds, device=device))


def timing_of(ours: Sequence[float], theirs: Sequence[float]) -> Timing:
    """Return the statistics of rounds; of an even number of them, the last is left out.

    Then the ratio lies between quartiles: three quarters of the rounds are at most our third one,
    three quarters are at least their first one, so that more than half of the ratios are at most
    the quotient of the two.

    Args:
        ours, theirs: seconds of each round, > 0, at least 3.
    """
    odd = len(ours) - 1 + len(ours) % 2
    ours, theirs = ours[:odd], theirs[:odd]
    (low, median, high), (dense_low, dense_median, dense_high) = (
        statistics.quantiles(seconds, n=4) for seconds in (ours, theirs)
    )
    return Timing(
        median=median,
        iqr=high - low,
        n=odd,
        ratio_to_dense=statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        dense_median=dense_median,
        quartiles=(low, high),
        dense_quartiles=(dense_low, dense_high),
    )


def peak_memory(device: torch.device = CPU) -> int:
    """Return the peak memory in bytes: allocated on a GPU, else the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_of(function: Callable[[], object], device: torch.device = CPU) -> int:
    """Return the most that `function` holds at a time above what there was before, in bytes, by torch's allocator."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return torch.cuda.max_memory_allocated(device) - before
    with _silenced(), profiler.profile(profile_memory=True) as found:
        function()
    events = [event for event in found.kineto_results.events() if event.name() == "[memory]"]
    held, most = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep the profiler's remarks about missing GPUs off the terminal; they come from C++, past sys.stderr."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
