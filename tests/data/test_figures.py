"""Figures of samples, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from moesuite.data.figures import Quantiles, label_counts, lengths, pixels, scores, spread
from moesuite.preview import Example, Lazy, Preview


def test_a_sample_is_evenly_spaced_from_the_first_one() -> None:
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(3, 4) == spread(3, None) == [0, 1, 2]
    assert spread(0, 4) == []


def test_quantiles() -> None:
    assert Quantiles.of(range(1, 21)) == Quantiles(1.0, 10.5, 18.0, 20.0)
    assert Quantiles.of([7]) == Quantiles(7.0, 7.0, 7.0, 7.0)


def test_pixels_are_of_images_of_equal_weight() -> None:
    """A white image of 4 pixels and a black one of 16: mean 1/2, standard deviation 1/2."""
    white, black = Image.new("L", (2, 2), 255), Image.new("L", (8, 2), 0)
    half = Image.fromarray(np.array([[0, 255]], dtype=np.uint8))
    found = pixels([(white, "1"), (black, "P"), (half, "P")])
    assert found is not None and (found.images, found.constant) == (3, 2)
    assert found.mean == [0.5] and found.std == [0.5]
    assert found.modes == {"P": 2, "1": 1}
    assert (found.width.least, found.width.median, found.width.most) == (2, 2, 8)
    red = pixels([(Image.new("RGB", (1, 1), (255, 0, 51)), "RGB")])
    assert red is not None and red.mean == [1, 0, 0.2] and red.std == [0, 0, 0]
    assert pixels([]) is None


def test_texts_that_are_cut_are_counted() -> None:
    examples = [Example(texts=("a b c", "")), Example(texts=("d e f g", "h"))]
    shown = Preview(
        Lazy(2, examples.__getitem__),
        tokens=lambda index: [len(text.split()) for text in examples[index].texts],
        length=3,
    )
    found = lengths(list(enumerate(examples)), shown)
    assert found is not None and (found.texts, found.cut, found.empty) == (4, 0.25, 1)
    assert found.tokens == Quantiles(0.0, 2.0, 4.0, 4.0)  # 3, 0, 4, 1
    assert lengths([], shown) is None
    assert lengths(list(enumerate(examples)), Preview(Lazy(2, examples.__getitem__))) is None


def test_classes_are_counted_in_their_order_and_numbers_by_value() -> None:
    named = Preview(iter(()), ["bee", "bee", "-1"], ["ant", "bee"])
    assert list(label_counts(named).items()) == [("ant", 0), ("bee", 2), ("-1", 1)]
    numbered = Preview(iter(()), ["10", "9", "B 2", "9", "B 11"])
    assert list(label_counts(numbered).items()) == [("9", 2), ("10", 1), ("B 2", 1), ("B 11", 1)]
    scored = Preview(iter(()), [0.0, 2.5, 5.0])
    assert label_counts(scored) == {}
    assert scores(scored.labels) == Quantiles(0.0, 2.5, 5.0, 5.0)
    assert scores(named.labels) is None


@pytest.mark.parametrize("labels", [[], ()])
def test_no_labels(labels: list[str]) -> None:
    assert label_counts(Preview(iter(()), labels)) == {} and scores(labels) is None
