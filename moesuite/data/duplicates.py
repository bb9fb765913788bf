"""Examples that a split holds more than once, or that stand in the training split, too.

Exact ones have equal contents (`Task.contents`). Near ones are texts that are equal without case,
punctuation and spaces, or images of equal difference hash whose grey values differ by less than
`CLOSE` of 255 on average.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from moesuite.preview import Example, Lazy, Preview
from moesuite.progress import track
from moesuite.statistics.duplicates import difference_hash, plain_text
from moesuite.task import ROLES, Task

CLOSE = 4.0  # grey levels
SIDE = 16  # pixels of the images that are compared
Thumbnail = np.ndarray  # [SIDE, SIDE], grey


@dataclass(frozen=True)
class Repeats:
    """Duplicates of a split.

    Attributes:
        total: what is compared, in the unit of the task: examples, lines of a text.
        within: those that repeat an earlier one of the split.
        in_train: those that stand in the training split, too; 0 of the training split.
        near: examples that are nearly equal to training examples, or equal; None: not counted.
    """

    total: int
    within: int
    in_train: int
    near: int | None = None


def repeats(task: Task, shown: Mapping[str, Preview], near: bool) -> dict[str, Repeats]:
    """Count the duplicates of each split of known length.

    Args:
        task: with its data.
        shown: splits as read, by role.
        near: count near-duplicates, too.
    """
    hashes = {role: _hashes(task, role) for role in ROLES if role in shown}
    train = set(hashes.get("train", ()))
    close = _near(shown) if near else {}
    return {
        role: Repeats(
            len(each),
            len(each) - len(set(each)),
            0 if role == "train" else sum(key in train for key in each),
            close.get(role),
        )
        for role, each in hashes.items()
        if each
    }


def _hashes(task: Task, role: Literal["train", "val", "test"]) -> list[bytes]:
    """Return the hash of the content of each example; empty for a stream."""
    contents = task.contents(role)
    if contents is None:
        return []
    tracked = track(contents, f"looking for duplicates in {role}", unit=task.unit)
    return [hashlib.blake2b(content, digest_size=16).digest() for content in tracked]


def _near(shown: Mapping[str, Preview]) -> dict[str, int]:
    """Return the number of near-duplicates of training examples in each other split."""
    if "train" not in shown:
        return {}
    known: dict[str | int, list[Thumbnail | None]] = {}
    for example in _examples(shown["train"], "train"):
        key, thumbnail = _blurred(example)
        known.setdefault(key, []).append(thumbnail)
    return {
        role: sum(_is_known(*_blurred(example), known) for example in _examples(each, role))
        for role, each in shown.items()
        if role != "train"
    }


def _examples(shown: Preview, role: str) -> Iterator[Example]:
    """Yield the readable examples of a split; none of a stream."""
    rows = shown.examples
    if isinstance(rows, Lazy):
        for index in track(range(len(rows)), f"looking for near-duplicates in {role}", len(rows)):
            try:
                example = rows[index]
            except OSError:
                continue
            yield example


def _blurred(example: Example) -> tuple[str | int, Thumbnail | None]:
    """Return what near-duplicates have in common, and of an image its thumbnail."""
    if example.image is None:
        return "\0".join(plain_text(text) for text in example.texts), None
    small = example.image.convert("L").resize((SIDE, SIDE))
    return difference_hash(example.image), np.asarray(small, dtype=np.float32)


def _is_known(
    key: str | int,
    thumbnail: Thumbnail | None,
    known: Mapping[str | int, Iterable[Thumbnail | None]],
) -> bool:
    others = known.get(key, ())
    if thumbnail is None:
        return any(True for _ in others)
    return any(np.abs(other - thumbnail).mean() < CLOSE for other in others if other is not None)
