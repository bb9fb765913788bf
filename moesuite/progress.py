"""Progress of long work, on stderr: a bar on a terminal, elsewhere a line every 30 s. No torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

EVERY = 30.0  # seconds between two lines
Item = TypeVar("Item")
Clock = Callable[[], float]  # seconds


class Lines:
    """Tells how far some work is, a line every `EVERY` seconds.

    Args:
        what: is done, such as "evaluation".
        total: how much there is to do; None: not known.
        unit: what is counted.
        done: how much was done before.
        clock: monotonic.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        unit: str = "batches",
        done: int = 0,
        clock: Clock = time.monotonic,
    ) -> None:
        self.what = what
        self.total = total
        self.unit = unit
        self.start = done
        self.clock = clock
        self.begun = self.told = clock()

    def count(self, done: int) -> None:
        """Print a line if the last one is `EVERY` seconds old; `done` counts all that is done."""
        now = self.clock()
        if now - self.told >= EVERY:
            self.told = now
            print(self.line(done, now - self.begun), file=sys.stderr, flush=True)

    def line(self, done: int, seconds: float) -> str:
        """Return how much is done after some seconds, the rate, and about how long is left."""
        text = f"{self.what}: {done:,} {self.unit}"
        if self.total is not None:
            text = f"{self.what}: {done:,} of {self.total:,} {self.unit}"
        fresh = done - self.start
        if fresh <= 0 or seconds <= 0:
            return text
        text += f", {fresh / seconds:.3g}/s"
        if self.total is None or done >= self.total:
            return text
        return f"{text}, about {duration(seconds * (self.total - done) / fresh)} left"


def track(
    items: Iterable[Item],
    what: str,
    total: int | None = None,
    unit: str = "examples",
    clock: Clock = time.monotonic,
) -> Iterator[Item]:
    """Yield items and show progress; the arguments are those of `Lines`."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as bar

        console = Console(stderr=True)
        yield from bar(items, what, total, transient=True, console=console)
        return
    lines = Lines(what, total, unit, clock=clock)
    for done, item in enumerate(items):
        lines.count(done)
        yield item


def duration(seconds: float) -> str:
    """Return a duration in s, min or h, rounded for the console."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
