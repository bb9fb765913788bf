"""Image files byte by byte: kinds that Pillow reads and does not write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA = 0, 2, 3, 4  # colour types of PNG


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image as a file that Pillow writes."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(bits: int, colour: int, row: bytes, width: int = 2, **chunks: bytes) -> bytes:
    """Return a PNG file of one row; `chunks` stand before its pixels."""
    header = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *((name.encode(), content) for name, content in chunks.items())]
    parts += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


def tiff(
    bits: int, row: bytes, width: int = 2, kind: int = 1, photometric: int = 1, order: str = "<"
) -> bytes:
    """Return a TIFF file of one row of one channel.

    Args:
        bits: of a pixel.
        row: the pixels.
        width: number of pixels.
        kind: SampleFormat: 1 unsigned, 2 signed, 3 floating point.
        photometric: 1: the least value is black; 0: it is white.
        order: of bytes: < or >.
    """
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1}
    tags |= {279: len(row), 339: kind}
    row += b"\0" * (len(row) % 2)
    content = struct.pack(f"{order}H", len(tags))
    for tag, value in tags.items():
        content += struct.pack(f"{order}HHIHxx", tag, 3, 1, value)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HI", 42, 8 + len(row)) + row + content + b"\0" * 4
