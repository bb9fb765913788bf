"""Plain text files as people have them: encodings, compression, and what is no text."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import fsspec

from moesuite.errors import UserError
from moesuite.sources.layout import COMPRESSED, suffix_of
from moesuite.sources.tables import read_bytes

SUFFIXES = (".txt", ".tokens", ".text", ".raw", "")  # of what is meant as text
HEAD = 2**16  # bytes that show what a file is
# first bytes of what is no text, and what it is
BINARY = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"RIFF": "a RIFF file (WebP, WAV or AVI)",
    b"%PDF": "a PDF",
    b"{\\rtf": "a rich text file (RTF)",
    b"PK\x03\x04": "a zip archive (also docx, epub, npz)",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\xfd7zXZ": "an xz file",
    b"BZh": "a bzip2 file",
    b"PAR1": "a parquet file",
    b"ARROW1": "an Arrow file",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\x7fELF": "a program",
}
NAMES = {  # what a misnamed file should be called
    "a gzip file": ".gz",
    "a zstd file": ".zst",
    "an xz file": ".xz",
    "a bzip2 file": ".bz2",
    "a parquet file": ".parquet",
    "an Arrow file": ".arrow",
    "JSON lines": ".jsonl",
    "rows separated by commas": ".csv",
    "rows separated by tabs": ".tsv",
}
WIDE = {  # byte order marks of encodings with several bytes to a character; the longer ones first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
TOOLS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
JSON_ROW = re.compile(rb'\s*\{\s*"[^"]*"\s*:')  # how a line of JSON lines begins
COLUMN = re.compile(rb"[a-z_]\w*")  # name of a column
UNDEFINED = {0x81, 0x8D, 0x8F, 0x90, 0x9D}  # bytes that are no character of windows-1252
FOREIGN = 0.2  # share of bytes beyond ASCII from which a text in a Latin alphabet is none


@dataclass(frozen=True)
class Looks:
    """What the head of a file shows.

    Attributes:
        binary: what it is, if it is no text; else empty.
        encoding: of several bytes to a character, if a byte order mark says so; else empty.
        windows: whether lines end with a carriage return and a line feed.
        links: whether all lines are addresses of web pages.
    """

    binary: str = ""
    encoding: str = ""
    windows: bool = False
    links: bool = False


def look(file: Path) -> Looks:
    """Return what the head of a file shows, of its content if it is compressed.

    Raises:
        UserError: for a file that may not be read, or is not compressed as its name says.
    """
    try:
        if file.suffix.lower() in COMPRESSED:
            with fsspec.open(str(file), compression="infer") as stream:
                head = stream.read(HEAD)
        else:
            with file.open("rb") as stream:
                head = stream.read(HEAD)
    except PermissionError:
        raise UserError(
            f"{file} cannot be read: permission denied; type for example chmod u+r {file}"
        ) from None
    except FileNotFoundError:
        raise UserError(
            f"{file}: a link to what is not there ({file.resolve()}); expected a file"
        ) from None
    except Exception:  # each compression has errors of its own; reading it whole reports them
        read_bytes(file)
        raise
    kind = next((kind for begin, kind in BINARY.items() if head.startswith(begin)), "")
    encoding = next((name for mark, name in WIDE.items() if head.startswith(mark)), "")
    if not kind and not encoding and b"\0" in head:
        kind = f"binary (a zero byte at {head.index(0)})"
    lines = [line for line in head.splitlines() if line.strip()]
    if not kind and suffix_of(file) in SUFFIXES:
        kind = _rows(lines)
    links = bool(lines) and all(line.startswith((b"http://", b"https://")) for line in lines[:-1])
    links = links and lines[0].startswith(b"http")
    return Looks(kind, encoding, b"\r\n" in head, links)


def _rows(lines: Sequence[bytes]) -> str:
    """Return which table a file is that is called a text; nothing for a text.

    JSON lines are objects with a name each; of rows the first line names a column of text.
    """
    if len(lines) < 2:
        return ""
    if all(JSON_ROW.match(line) for line in lines[:2]) and _is_json(lines[0]):
        return "JSON lines"
    names = {b",": "rows separated by commas", b"\t": "rows separated by tabs"}
    for separator, kind in names.items():
        cells = [cell.strip(b' "').lower() for cell in lines[0].split(separator)]
        if len(cells) > 1 and b"text" in cells and all(map(COLUMN.fullmatch, cells)):
            return kind
    return ""


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def no_text(file: Path, kind: str, expected: str) -> UserError:
    """Return the error of a file that is no text.

    Args:
        file: of no text.
        kind: what it is.
        expected: what the family reads, in words.
    """
    hint = ""
    if kind in NAMES:
        new = file.with_name(file.name + NAMES[kind])
        hint = f"; type for example mv {quote(str(file))} {quote(str(new))}"
    return UserError(f"{file}: {kind}, not text; expected {expected}{hint}")


def read_plain(file: Path) -> bytes:
    """Return a text as UTF-8 without byte order mark and without line ends at its end.

    Line ends within it stay as they are: a byte counts as a byte.

    Raises:
        UserError: for a file in another encoding, with the command that converts it.
    """
    packed = file.suffix.lower() in COMPRESSED
    content = read_bytes(file) if packed else file.read_bytes()
    if encoding := look(file).encoding:
        try:
            content = content.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{file}: not {encoding.upper()}, as its first bytes say, at byte {error.start}; "
                "expected UTF-8 text"
            ) from None
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file}: not UTF-8 at byte {error.start}; expected UTF-8 text; "
            f"{_conversion(file, content, packed)}"
        ) from None
    return content.rstrip(b"\n")


def _conversion(file: Path, content: bytes, packed: bool) -> str:
    """Return how to convert a text that is not UTF-8, as far as its bytes say."""
    high = content.translate(None, delete=bytes(range(0x80)))
    encoding = "windows-1252" if any(byte < 0xA0 for byte in set(high)) else "latin1"
    if len(high) > FOREIGN * len(content) or set(high) & UNDEFINED:
        return "convert it by iconv -t utf8 -f and its encoding"
    name, new = (quote(str(path)) for path in (file, file.with_suffix(".utf8")))
    convert = f"iconv -f {encoding} -t utf8"
    if packed:
        tool = TOOLS[file.suffix.lower()]
        return f"type {tool} -dc {name} | {convert} | {tool} > {new} && mv {new} {name}"
    return f"type {convert} {name} > {new} && mv {new} {name}"
