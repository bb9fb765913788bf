"""What a run says of its data: description, notes, and what of the test also stands in train."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache

from moesuite.records.record import Duplicates
from moesuite.statistics.duplicates import shared_with_train
from moesuite.task import ROLES, Task, track


@lru_cache(maxsize=1)
def duplicates_of(task: Task) -> dict[str, Duplicates] | None:
    """Return how many examples of "val" and "test" also stand in "train"; None: not counted."""
    contents = {role: task.contents(role) for role in ROLES}
    others: dict[str, Iterator[bytes]] = {
        role: each for role, each in contents.items() if role != "train" and each is not None
    }
    if contents["train"] is None or not others:
        return None
    train = track(contents["train"], "looking for test examples in train", unit=task.unit)
    counts = shared_with_train(train, others)
    if counts is None:
        return None
    return {
        role: Duplicates(count=count, total=total, unit=task.unit)
        for role, (count, total) in counts.items()
        if total or role == "test"
    }


def tell_data(task: Task) -> None:
    """Print on stderr what the data is, unless the last run of this process was on the same."""
    duplicates, lines = duplicates_of(task), ["how many test examples also stand in train: unknown"]
    if duplicates is not None:
        lines = [each.sentence(role) for role, each in duplicates.items()]
    print_once(f"data: {task.description}", *task.notes, *lines)


@lru_cache(maxsize=1)
def print_once(*lines: str) -> None:
    """Print lines on stderr, unless the last call had the same."""
    print("\n  ".join(lines), file=sys.stderr, flush=True)
