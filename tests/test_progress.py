"""Progress without a terminal, by a clock that the tests set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moesuite.progress import Lines, track


class Clock:
    """Seconds that only the test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_thirty_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """10 of 100 in 30 s: a third in a second, and 270 s for the other 90."""
    clock = Clock()
    lines = Lines("evaluation", 100, clock=clock)
    for clock.now, done in ((29.9, 9), (30.0, 10), (59.0, 20), (61.0, 21)):
        lines.count(done)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "evaluation: 10 of 100 batches, 0.333/s, about 4 min left",
        "evaluation: 21 of 100 batches, 0.344/s, about 4 min left",
    ]


@pytest.mark.parametrize(
    ("total", "before", "done", "line"),
    [
        (None, 0, 60, "training: 60 steps, 2/s"),
        (1100, 1000, 1060, "training: 1,060 of 1,100 steps, 2/s, about 20 s left"),
        (100, 0, 0, "training: 0 of 100 steps"),
        (60, 0, 60, "training: 60 of 60 steps, 2/s"),
    ],
)
def test_rate_and_time_left_are_of_what_this_process_did(
    total: int | None, before: int, done: int, line: str
) -> None:
    lines = Lines("training", total, "steps", before, Clock())
    assert lines.line(done, 30.0) == line


def test_what_is_tracked_comes_out_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()

    def slow() -> Iterator[int]:
        for number in range(5):
            clock.now += 12.0
            yield number

    assert list(track(slow(), "decoding", 5, "images", clock)) == [0, 1, 2, 3, 4]
    # at 12, 24, 36, 48 and 60 s there were 0 to 4 done; the clock starts with the first
    assert capsys.readouterr().err == "decoding: 2 of 5 images, 0.0556/s, about 54 s left\n"
