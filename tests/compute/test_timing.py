"""Times: interleaved, median and ratio, the clock and the peak."""

from __future__ import annotations

import itertools
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesuite.compute.memory import examples_that_fit
from moesuite.compute.timing import compare, interleaved, peak_memory, peak_of, timing_of
from moesuite.records.provenance import environment


def test_interleaved_measures_in_turns() -> None:
    calls: list[str] = []
    samples = interleaved(
        [lambda: calls.append("a"), lambda: calls.append("b")], seconds=0.01, least=5, most=5
    )
    assert [len(sample) for sample in samples] == [5, 5]
    assert calls == ["a", "b"] * 6  # once to warm up


def test_compare_gives_median_and_ratio() -> None:
    x = torch.randn(64, 64)
    found = compare(lambda: [x @ x for _ in range(20)], lambda: x @ x, seconds=0.05)
    assert found.n >= 5 and found.median > 0 and found.iqr >= 0
    assert found.ratio_to_dense > 1


def test_statistics_of_rounds_by_hand() -> None:
    """Of 1, 2, 3, 4, 5 (the sixth round is left out) quartiles are 1.5 and 4.5.

    Ratios 1/2, 2, 1, 1, 5: median 1.
    """
    found = timing_of([1.0, 2.0, 3.0, 4.0, 5.0, 100.0], [2.0, 1.0, 3.0, 4.0, 1.0, 1.0])
    assert (found.n, found.median, found.iqr, found.quartiles) == (5, 3.0, 3.0, (1.5, 4.5))
    assert (found.ratio_to_dense, found.dense_median, found.dense_quartiles) == (
        1.0,
        2.0,
        (1.0, 3.5),
    )


@given(st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=3, max_size=40))
def test_the_ratio_lies_between_the_quotients_of_quartiles(
    rounds: list[tuple[float, float]],
) -> None:
    """Whatever a machine does to single rounds: the gate relies on it."""
    found = timing_of([ours for ours, _ in rounds], [theirs for _, theirs in rounds])
    assert found.quartiles is not None and found.dense_quartiles is not None
    (low, high), (dense_low, dense_high) = found.quartiles, found.dense_quartiles
    assert low / dense_high * (1 - 1e-9) <= found.ratio_to_dense <= high / dense_low * (1 + 1e-9)


def test_a_cpu_is_timed_by_the_clock_beside_an_idle_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # the events of a GPU that does nothing say how long launching took: nearly nothing, and 0 bytes
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("asked the GPU")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in (
        "Event",
        "max_memory_allocated",
        "memory_allocated",
        "mem_get_info",
        "get_device_name",
    ):
        monkeypatch.setattr(torch.cuda, name, refuse)
    ticks = itertools.count()
    monkeypatch.setattr(
        time, "perf_counter", lambda: float(next(ticks))
    )  # each call is one tick long
    assert interleaved(
        [lambda: None], seconds=0.01, least=2, most=2, device=torch.device("cpu")
    ) == [[1.0, 1.0]]
    assert (
        peak_memory(torch.device("cpu")) > 2**20
        and examples_that_fit(1.0, 0.0, torch.device("cpu")) > 1
    )
    assert environment.__wrapped__("cpu")["device"]


def test_the_peak_of_a_function() -> None:
    # two tensors of 1 MiB at a time, the second of them twice
    def run() -> None:
        for _ in range(2):
            x = torch.ones(2**18)
            y = x + 1
            del x, y

    assert peak_of(run) == pytest.approx(2 * 2**20, rel=0.01)
