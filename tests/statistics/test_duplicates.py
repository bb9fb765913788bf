"""Duplicates between splits, counted by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from moesuite.statistics.duplicates import difference_hash, plain_text, shared_with_train

LONG = b"x" * 1000


def test_each_example_that_stands_in_train_counts_once() -> None:
    """Of test, `a` twice and the long one stand in train; of val, none does."""
    train = [b"a", b"a", LONG, b"b"]
    counts = shared_with_train(train, {"val": [b"c"], "test": [b"a", b"a", LONG, LONG + b"y"]})
    assert counts == {"val": (0, 1), "test": (3, 4)}


@pytest.mark.parametrize(("patience", "given_up"), [(6.0, False), (5.0, True), (1.0, True)])
def test_counting_is_given_up_in_time(patience: float, given_up: bool) -> None:
    """The clock is read at the begin, for 2 examples of test, and for 4 of train: at 0 to 6 s."""
    clock = itertools.count()
    counts = shared_with_train(
        [b"a", b"b", b"c", b"d"], {"test": [b"a", b"z"]}, patience, lambda: float(next(clock))
    )
    assert counts == (None if given_up else {"test": (1, 2)})


def test_sixty_thousand_examples_are_read_once() -> None:
    contents = (str(index).encode() * 200 for index in range(60_000))
    test = [b"59999" * 200, b"60000" * 200]
    assert shared_with_train(contents, {"test": test}) == {"test": (1, 2)}


def test_near_duplicates_of_texts_are_equal_when_plain() -> None:
    assert plain_text("It's 3 o'clock, Ümit!") == plain_text("its 3 O CLOCK   ümit")
    assert plain_text("three") != plain_text("tree")


def test_near_duplicates_of_images_differ_in_few_bits() -> None:
    """Grey of 9 columns: rising along every row sets all 64 bits, falling sets none."""
    rising = np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))
    assert difference_hash(Image.fromarray(rising)) == 2**64 - 1
    assert difference_hash(Image.fromarray(rising[:, ::-1].copy())) == 0
    brighter = Image.fromarray(rising + 40).resize((90, 80), Image.Resampling.BILINEAR)
    assert difference_hash(brighter.convert("RGB")) == 2**64 - 1
