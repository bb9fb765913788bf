"""Duplicates between splits: exact by hash of contents; near-duplicates of texts and images."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

SHORT = 64  # bytes of a content that is its own key
PATIENCE = 60.0  # seconds after which counting is given up
SIDE = 8  # of a difference hash


def shared_with_train(
    train: Iterable[bytes],
    others: Mapping[str, Iterable[bytes]],
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, tuple[int, int]] | None:
    """Return (contents of each other split that stand in train too, contents of it).

    Args:
        train: contents of the training split, read once.
        others: contents of the other splits, each hash of which is kept.
        patience: seconds after which counting is given up, so that the result is None.
        clock: monotonic, in seconds.
    """
    end = clock() + patience
    counts: dict[str, Counter[bytes]] = {}
    for role, contents in others.items():
        counts[role] = Counter()
        for content in contents:
            counts[role][_key(content)] += 1
            if clock() > end:
                return None
    totals = {role: count.total() for role, count in counts.items()}
    shared = dict.fromkeys(counts, 0)
    for content in train:
        key = _key(content)
        for role, count in counts.items():
            shared[role] += count.pop(key, 0)
        if clock() > end:
            return None
    return {role: (shared[role], totals[role]) for role in counts}


def _key(content: bytes) -> bytes:
    return content if len(content) <= SHORT else hashlib.blake2b(content, digest_size=16).digest()


def plain_text(text: str) -> str:
    """Return the letters and digits of a text in lower case: equal for near-duplicates."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


def difference_hash(image: Any) -> int:
    """Return the 64-bit difference hash of a PIL image: near-duplicates differ in few bits.

    Of its grey image of 9 x 8 pixels: whether each pixel is darker than the one on its right
    (N. Krawetz 2013,
    https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html).
    """
    pixels = np.asarray(image.convert("L").resize((SIDE + 1, SIDE)), dtype=np.int16)
    darker = pixels[:, :-1] < pixels[:, 1:]
    return int.from_bytes(np.packbits(darker).tobytes(), "big")
