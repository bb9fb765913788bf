"""What a reader is shown of a split before anything is trained; `python -m moesuite.data` asks."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Example:
    """An example as read.

    Attributes:
        texts: its texts, whole.
        image: its image in its own size, in the colours that the model sees.
        mode: Pillow's mode of the image as stored: RGB, L, P, I;16, ...
        label: name of its class, or its score; None for neither.
    """

    texts: Sequence[str] = ()
    image: Image | None = None
    mode: str = ""
    label: str | float | None = None


class Lazy:
    """Examples of known number, each made when it is asked for.

    Args:
        length: their number.
        make: index -> example; raises `OSError` for an unreadable one.
    """

    def __init__(self, length: int, make: Callable[[int], Example]) -> None:
        self.length = length
        self.make = make

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Example:
        if not -self.length <= index < self.length:
            raise IndexError(index)
        return self.make(index % self.length)


@dataclass(frozen=True)
class Preview:
    """A split as read.

    Attributes:
        examples: by index, or one after the other of a stream.
        labels: name of the class of each example, or its score; empty for neither.
        classes: names of all classes in their order; empty if they are not known.
        tokens: index of an example -> tokens of each of its texts before they are cut; None: no
            text is cut.
        length: tokens that are kept of a text.
        mean: that is subtracted from each channel of images scaled to 0..1.
        std: that each channel is divided by.
        figures: other figures of the split by name, for the reader.
    """

    examples: Lazy | Iterator[Example]
    labels: Sequence[str] | Sequence[float] = ()
    classes: Sequence[str] = ()
    tokens: Callable[[int], Sequence[int]] | None = None
    length: int = 0
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    figures: Mapping[str, int | float] = field(default_factory=dict)


def as_example(shown: Sequence[str | list[str]]) -> Example:
    """Return an example of what `Task.shown` returns for a batch of one: an image, or tokens."""
    if shown and isinstance(shown[0], str):
        from PIL import Image

        data = base64.b64decode(shown[0].partition(",")[2])
        image = Image.open(io.BytesIO(data))
        return Example(image=image, mode=image.mode)
    return Example(texts=[joined(tokens) for tokens in shown])


def joined(tokens: Sequence[str]) -> str:
    """Return tokens as a text: words with spaces between, unless tokens hold spaces themselves."""
    return ("" if any(token.isspace() or token != token.strip() for token in tokens) else " ").join(
        tokens
    )
