"""Content of files: decompressed whole, UTF-8."""

from __future__ import annotations

import codecs
from pathlib import Path
from shlex import quote

from moesuite.errors import UserError
from moesuite.sources.layout import suffix_of

TEXT = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
CHUNK = 2**24  # bytes that are checked at once
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_bytes(file: Path) -> bytes:
    """Return the content of a file, decompressed.

    Raises:
        UserError: for a file that is not compressed as its name says, or cut short.
    """
    import fsspec
    import zstandard

    try:
        if file.suffix.lower() == ".zst":
            return _unzstd(file.read_bytes())
        with fsspec.open(str(file), compression="infer") as stream:
            return stream.read()
    except (OSError, EOFError, ValueError, zstandard.ZstdError) as error:
        raise UserError(
            f"{file}: cannot be decompressed ({first_line(error)}); expected a whole "
            f"{file.suffix} file"
        ) from None


def _unzstd(content: bytes) -> bytes:
    """Return all frames; a stream of the library ends in silence where the file is cut."""
    import zstandard

    parts = []
    while content:
        frame = zstandard.ZstdDecompressor().decompressobj()
        parts.append(frame.decompress(content))
        if not frame.eof:
            raise EOFError("it ends within a frame")
        content = frame.unused_data
    return b"".join(parts)


def check_text(name: Path, file: Path) -> None:
    """Raise `UserError` for an empty file, and for a text that is not UTF-8.

    Args:
        name: for errors.
        file: the same, decompressed.
    """
    if file.stat().st_size == 0:
        raise UserError(f"{name}: a split is empty; expected at least one row")
    if suffix_of(name) not in TEXT:
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as stream:
        encoding = "utf-16" if stream.read(2) in UTF16 else "latin1"
        stream.seek(0)
        try:
            while chunk := stream.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            convert = f"convert its content by iconv -f {encoding} -t utf8"
            if name == file:
                old, new = quote(str(file)), quote(f"{file}.utf8")
                command = f"iconv -f {encoding} -t utf8 {old} > {new} && mv {new} {old}"
                convert = f"type for example {command}"
            raise UserError(
                f"{name}: not UTF-8 ({error.reason}); expected UTF-8; {convert}"
            ) from None


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
    return (str(error).splitlines() or [type(error).__name__])[0]
