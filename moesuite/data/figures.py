"""Figures of a sample of a split: quantiles, lengths of texts, pixels of images, counts of labels.

A sample is evenly spaced over the split, because files are often sorted by class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moesuite.preview import Example, Preview


@dataclass(frozen=True)
class Quantiles:
    """Smallest value, median, the value that 90 % do not exceed, and largest value."""

    least: float
    median: float
    ninety: float
    most: float

    @classmethod
    def of(cls, values: Sequence[int | float] | np.ndarray) -> Quantiles:
        """Return those of at least one value; 90 % is a value that occurs."""
        least, median, most = np.percentile(values, [0, 50, 100])
        ninety = np.percentile(values, 90, method="inverted_cdf")
        return cls(float(least), float(median), float(ninety), float(most))


@dataclass(frozen=True)
class Lengths:
    """Texts of a sample.

    Attributes:
        texts: their number.
        tokens: of a text before it is cut.
        characters: of a text.
        limit: tokens that are kept of a text.
        cut: share of the texts that have more.
        empty: number of texts without a character that is no space.
    """

    texts: int
    tokens: Quantiles
    characters: Quantiles
    limit: int
    cut: float
    empty: int


@dataclass(frozen=True)
class Pixels:
    """Images of a sample.

    Attributes:
        images: their number.
        mean: of each channel scaled to 0..1, mean over images.
        std: the same of all pixels, images of equal weight.
        width: in pixels.
        height: in pixels.
        modes: number of images by Pillow's mode as stored.
        constant: number of images of one colour.
    """

    images: int
    mean: list[float]
    std: list[float]
    width: Quantiles
    height: Quantiles
    modes: dict[str, int]
    constant: int


def spread(length: int, most: int | None) -> list[int]:
    """Return at most `most` indices below `length`, evenly spaced from the first one; None: all."""
    if most is None or length <= most:
        return list(range(length))
    return [index * length // most for index in range(most)]


def lengths(examples: Sequence[tuple[int, Example]], shown: Preview) -> Lengths | None:
    """Return the figures of the texts of some examples; None for what is not cut.

    Args:
        examples: with their index in the split.
        shown: the split; tells tokens.
    """
    texts = [text for _, example in examples for text in example.texts]
    if shown.tokens is None or not texts:
        return None
    counts = np.concatenate([shown.tokens(index) for index, _ in examples])
    return Lengths(
        len(texts),
        Quantiles.of(counts),
        Quantiles.of([len(text) for text in texts]),
        shown.length,
        float((counts > shown.length).mean()),
        sum(not text.strip() for text in texts),
    )


def pixels(images: Iterable[tuple[Any, str]]) -> Pixels | None:
    """Return the figures of (image, mode as stored); None without images."""
    moments, sizes, modes = list[np.ndarray](), list[tuple[int, int]](), Counter[str]()
    constant = 0
    for image, mode in images:
        values = np.asarray(image)
        values = (values if values.ndim == 3 else values[..., None]) / 255
        moments.append(np.stack([values.mean(axis=(0, 1)), (values**2).mean(axis=(0, 1))]))
        constant += bool((values == values[:1, :1]).all())
        sizes.append(image.size)
        modes[mode] += 1
    if not moments:
        return None
    mean, square = np.mean(moments, axis=0)
    std = np.sqrt(np.maximum(0, square - mean**2))
    width, height = (Quantiles.of(side) for side in zip(*sizes, strict=True))
    order = dict(modes.most_common())
    return Pixels(len(sizes), mean.tolist(), std.tolist(), width, height, order, constant)


def label_counts(shown: Preview) -> dict[str, int]:
    """Return the number of examples of each class, 0 included, in the order of the classes.

    Without names of classes they are sorted, numbers by value; empty for scores.
    """
    if not shown.labels or not isinstance(shown.labels[0], str):
        return {}
    counts = Counter(str(label) for label in shown.labels)
    others = sorted(counts.keys() - set(shown.classes), key=_natural)
    return {name: counts[name] for name in [*shown.classes, *others]}


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts numbers by value, and words after them."""
    parts = name.split()
    return tuple((0, int(p), "") if p.lstrip("-").isdecimal() else (1, 0, p) for p in parts)


def scores(labels: Sequence[Any]) -> Quantiles | None:
    """Return the quantiles of scores; None for names of classes."""
    is_score = bool(labels) and not isinstance(labels[0], str)
    return Quantiles.of(np.asarray(labels, dtype=float)) if is_score else None
