"""Progress without a terminal, by a clock that the tests set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import pytest

from moesuite.progress import Lines, track
from moesuite.train.callbacks.progress import ProgressLines
from tests.helpers import TINY_RUN, invoke


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


class Trainer(L.Trainer):
    """A trainer at a step that the test sets."""

    is_global_zero = True
    num_val_batches = (40,)
    num_test_batches = (60, 40)
    estimated_stepping_batches = math.inf
    global_step = 10


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(100, "70 of 100 steps, 2/s, about 15 s left"), (math.inf, "70 steps, 2/s")],
)
def test_training_and_evaluation_tell_how_far_they_are(
    steps: float,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run that is resumed at step 10: 60 steps in 30 s."""
    monkeypatch.setattr(Trainer, "estimated_stepping_batches", steps)
    monkeypatch.setattr(Trainer, "global_step", 10)
    clock, trainer, module = Clock(), Trainer(logger=False), L.LightningModule()
    lines = ProgressLines(clock)
    lines.on_train_start(trainer, module)
    clock.now = 30.0
    monkeypatch.setattr(Trainer, "global_step", 70)
    lines.on_train_batch_end(trainer, module, None, None, 69)
    for start, end in (
        (lines.on_validation_start, lines.on_validation_batch_end),
        (lines.on_test_start, lines.on_test_batch_end),
    ):
        start(trainer, module)
        clock.now += 30.0
        end(trainer, module, None, None, 14, 0)
    assert capsys.readouterr().err.splitlines() == [
        f"training: {expected}",
        "validation: 15 of 40 batches, 0.5/s, about 50 s left",
        "evaluation: 15 of 100 batches, 0.5/s, about 3 min left",
    ]


@pytest.mark.parametrize("words", [(), ("trainer.enable_progress_bar=false",)])
def test_a_run_without_a_terminal_tells_of_training_and_evaluation(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a line after every step and batch: 2 steps, 2 validations and 2 evaluations of 2."""
    monkeypatch.setattr("moesuite.progress.EVERY", 0.0)
    quick = [word for word in TINY_RUN if "progress" not in word]
    assert invoke(monkeypatch, *quick, *words, f"records={tmp_path}") == 0
    out, err = capsys.readouterr()
    if words:
        assert "training:" not in err
        return
    for start in ("training: 1 of 2 steps", "training: 2 of 2 steps", "evaluation: 1 of 2 batches"):
        assert start in err
    assert "Epoch" not in out and "━" not in out.split("\n", 1)[0]
