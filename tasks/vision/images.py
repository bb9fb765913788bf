"""Images: resizing, reporting unreadable ones, and showing them to readers."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from moesuite.sources.fingerprint import content_hashes
from moesuite.sources.raw.shards import is_pointer
from moesuite.task import UserError, track
from moesuite.tasks.vision.decoding import (
    IMAGES,
    Decoding,
    RangeUnknown,
    limits,
    opened,
    traits_of,
)

THUMBNAIL = 160  # largest side in pixels of an image shown to readers
Transform = Callable[[Image.Image], Tensor]


@dataclass(frozen=True)
class Unreadable:
    """Placeholder for an unreadable image on its way from a loader process to the main process.

    Attributes:
        name: for the reader.
        refusal: why the data cannot be read at all, broken images left out or not; may be empty.
    """

    name: str
    refusal: str = ""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch in this context; restore them after."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


def refuse_unreadable(names: Sequence[str]) -> None:
    """Raise `UserError` if any image is unreadable."""
    if names:
        raise UserError(
            f"{len(names)} unreadable image{'s' * (len(names) > 1)}: {', '.join(names[:3])}; "
            "expected images that Pillow can decode; repair or remove them, or type "
            "task.strict=false to leave them out and count them"
        )


def as_uri(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> str:
    """Return a normalised image [channels, height, width] as a data URI.

    The image is scaled down to at most `THUMBNAIL` pixels a side.
    """
    shape = (-1, 1, 1)
    pixels = image.float().cpu() * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)
    as_bytes = (255 * pixels).round().clamp(0, 255).byte()
    picture = Image.fromarray(as_bytes.permute(1, 2, 0).numpy().squeeze())
    kind, stream = "png" if max(picture.size) <= THUMBNAIL // 4 else "jpeg", io.BytesIO()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    picture.save(stream, kind)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def pixels_of(picture: Image.Image, size: int) -> np.ndarray:
    """Return the bytes of an image [size, size, channels], resized if it has another size."""
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture).reshape(size, size, -1)


def cell_name(cell: dict[str, Any] | None, index: int, where: str) -> str:
    """Return the name of an image in messages: its path, or its row in the split `where`.

    Of a file without an image it says why.
    """
    if cell is None or cell["path"] is None or cell["bytes"] is not None:
        return f"{where}, row {index}"
    file = Path(cell["path"])
    if not file.is_file():
        return f"{file} (no such file)"
    return f"{file} (a pointer of git-lfs: type git lfs pull)" if is_pointer(file) else str(file)


def unreadable(cell: dict[str, Any] | None, index: int, where: str, error: OSError) -> Unreadable:
    """Return the placeholder of an image, with what to do where it is not broken."""
    name = cell_name(cell, index, where)
    return Unreadable(name, f"{name}: {error}" if isinstance(error, RangeUnknown) else "")


class HashIds:
    """Ids of images of a stream, whose rows have no number: the hash of the undecoded image."""

    def __getitem__(self, index: int) -> str:
        return f"{index:016x}"


def hashed(cell: dict[str, Any]) -> int:
    """Return 63 bits of the hash of an undecoded image."""
    content = cell["path"].encode() if cell["bytes"] is None else cell["bytes"]
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1


def cells_of(rows: Any) -> Iterator[dict[str, Any] | None]:
    """Yield the undecoded images of rows, which are read in batches: 30 times as fast as by row."""
    parts = rows.select_columns(["image"]).iter(1000)
    return chain.from_iterable(part["image"] for part in parts)


def scan_files(rows: Any, decoding: Decoding, where: str) -> tuple[dict[int, str], Counter[str]]:
    """Read the headers of image files, at about 0.1 ms each.

    A file that is truncated further down is noticed when it is decoded. `where` names the split.

    Returns:
        Row and name of the files whose header is not that of an image, and counts of images and
        of their traits; see `Decoding.notes`.

    Raises:
        UserError: for pixels whose range is unknown.
    """
    bad, traits = dict[int, str](), Counter[str]()
    for index, cell in enumerate(track(cells_of(rows), "reading headers", len(rows), "images")):
        try:
            with opened(cell) as image:
                limits(image, decoding)
                traits.update([IMAGES, *traits_of(image)])
        except RangeUnknown as error:
            raise UserError(f"{cell_name(cell, index, where)}: {error}") from None
        except OSError:
            bad[index] = cell_name(cell, index, where)
    return bad, traits


def undecoded(rows: Any, root: str) -> Iterator[bytes]:
    """Return the content of each image of a split; of files the hash, as their fingerprint has it.

    Args:
        rows: with undecoded cells in the column "image".
        root: folder of the source, under which hashes of files are cached; may be empty.
    """
    first = next(filter(None, cells_of(rows)), None)
    if first is None or first["bytes"] is not None:
        return (cell["bytes"] for cell in filter(None, cells_of(rows)))
    files = [Path(cell["path"]) for cell in filter(None, cells_of(rows))]
    return map(str.encode, content_hashes(files, Path(root or files[0].parent)))
