"""Time measured interleaved with the matched dense model: ratios survive a noisy machine."""

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
    """Time `functions` in turns; return the seconds of each call.

    Args:
        functions: what to time; each is called once before, to warm up.
        seconds: time limit for all rounds together, > 0.
        least, most: bounds on the number of rounds; `least` holds even beyond the time limit.
        device: device of the functions.
    """
    warm = sum(seconds_of(function, device) for function in functions)
    rounds = min(most, max(least, int(seconds / max(warm, 1e-9))))
    samples: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, sample in zip(functions, samples, strict=True):
            sample.append(seconds_of(function, device))
    return samples


def seconds_of(function: Callable[[], object], device: torch.device = CPU) -> float:
    """Return the seconds of one call: by CUDA events on a GPU, else by the clock.

    A GPU works asynchronously. Not torch.utils.benchmark: its `timeit(1)` runs the function twice
    more to warm up, which an interleaved measurement has done already.
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
    """Time `function` against its dense counterpart; the ratio is the median over rounds."""
    return timing_of(*interleaved([function, dense], seconds, device=device))


def timing_of(ours: Sequence[float], theirs: Sequence[float]) -> Timing:
    """Return the statistics of rounds; of an even number, the last one is left out.

    With an odd number the ratio lies between quotients of quartiles: three quarters of our rounds
    are at most our third quartile, three quarters of theirs are at least their first, so that more
    than half of the ratios are at most the quotient of the two.

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
    """Return the peak bytes that `function` allocates, according to torch's allocator."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return torch.cuda.max_memory_allocated(device) - before
    with _silenced(), profiler.profile(profile_memory=True) as profile:
        function()
    events = [event for event in profile.kineto_results.events() if event.name() == "[memory]"]
    held, most = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@contextmanager
def _silenced() -> Iterator[None]:
    """Silence the profiler's messages about missing GPUs, which bypass sys.stderr (C++)."""
    stderr = os.dup(2)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
