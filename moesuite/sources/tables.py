"""Tables on disk as rows of `datasets`: parquet, Arrow, CSV, TSV, JSON (lines), `save_to_disk`.

Copies that `datasets` makes are filed under the content of the files: a file that changes is read
anew, whatever its size and date.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import re
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from moesuite.errors import UserError
from moesuite.sources.cache import cache_folder, cached, load_rows
from moesuite.sources.layout import COMPRESSED, suffix_of
from moesuite.sources.raw.content import check_text, first_line, read_bytes
from moesuite.sources.raw.json_rows import broken_line, json_rows, named_splits
from moesuite.sources.raw.shards import is_pointer, load_parts

# in this order where a folder holds the same data in several
FORMATS = (".parquet", ".arrow", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
SNIFFED = 2**20  # bytes of a file that show how its cells are separated
# what `datasets` says of files without rows
NO_ROWS = ("corresponds to no data", "BatchSize must be greater than 0")
# what `datasets` says of files of one split with other columns
OTHER_COLUMNS = ("Couldn't cast", "Schema at index", "must have the same columns")
SEPARATORS = ",;|\t"
QUOTED = re.compile(r'"([^"]|"")*"')
IMAGE = re.compile(r"\S+\.(png|jpe?g|webp|gif|bmp|tiff?)", re.IGNORECASE)
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def is_table(file: Path) -> bool:
    """Whether a file holds rows, by its name."""
    return suffix_of(file) in FORMATS


def is_saved(folder: Path) -> bool:
    """Whether `datasets` wrote a folder by `save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def load_saved(folder: Path) -> dict[str, Any]:
    """Return the splits of a folder of `save_to_disk`; a single data set is called train.

    Raises:
        UserError: if its files are not whole.
    """
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"task.source={folder}: unreadable as save_to_disk wrote it: {first_line(error)}; "
            "expected dataset_dict.json and the folders it names; save it again"
        ) from None
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}


def saved_files(folder: Path) -> list[Path]:
    """Return the files of rows of a folder of `save_to_disk`."""
    return sorted(folder.rglob("*.arrow"))


def read_tables(files: Sequence[Path], content: str, streaming: bool = False) -> Any:
    """Return the rows of files of one format, one after another.

    Args:
        files: of one split.
        content: hash of their contents.
        streaming: read while training, without a copy on disk.

    Raises:
        UserError: for a file that cannot be read or has no rows, with the reason.
    """
    import datasets
    import pyarrow

    place = cache_folder() / "rows" / hashlib.sha256(content.encode()).hexdigest()[:20]
    plain = [_decompressed(file, place) for file in files]
    for name, file in zip(files, plain, strict=True):
        check_text(name, file)
    logger = logging.getLogger("datasets")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # the reason stands in the error
    try:
        rows = _read(plain, str(place), streaming)
    except UserError:
        raise
    except StopIteration:  # JSON lines without one
        raise _unreadable(files, ValueError(NO_ROWS[0])) from None
    except (datasets.exceptions.DatasetGenerationError, OSError, ValueError, EOFError) as error:
        raise _broken_line(files, plain) or _unreadable(files, error) from None
    except (pyarrow.ArrowException, csv.Error) as error:
        raise _unreadable(files, error) from None
    finally:
        logger.setLevel(level)
    if not streaming and len(rows) == 0:
        raise _unreadable(files, ValueError(NO_ROWS[0]))
    return rows


def json_splits(file: Path) -> dict[str, Any]:
    """Return the splits of one JSON file, {"train": [...], "test": [...]}; else nothing."""
    return {name: _as_rows(rows) for name, rows in named_splits(file).items()}


def _as_rows(values: Sequence[dict[str, Any]]) -> Any:
    """Return rows with every column that one of them has."""
    import datasets

    names = dict.fromkeys(chain.from_iterable(values))
    return datasets.Dataset.from_list([{**dict.fromkeys(names), **row} for row in values])


def _read(files: Sequence[Path], place: str, streaming: bool) -> Any:
    names, suffix = [str(file) for file in files], suffix_of(files[0])
    load = partial(load_rows, data_files=names, split="train", streaming=streaming, cache_dir=place)
    if suffix in (".parquet", ".arrow"):

        def load_some(some: Sequence[Path]) -> Any:
            return load(suffix[1:], data_files=[str(file) for file in some])

        return load_parts(files, load_some, streaming)
    if suffix == ".json":
        return _as_rows(list(chain.from_iterable(map(json_rows, files))))
    if suffix in (".csv", ".tsv"):
        # an empty cell is missing; "NA", "null" and "None" are words
        return load("csv", **_dialect(files[0], suffix), keep_default_na=False, na_values=[""])
    return load("json")


def _decompressed(file: Path, place: Path) -> Path:
    """Return the file itself, or its content in the cache."""
    if file.suffix.lower() not in COMPRESSED:
        return file

    def write(folder: Path) -> None:
        (folder / file.stem).write_bytes(read_bytes(file))

    name = hashlib.sha256(str(file).encode()).hexdigest()[:12]
    return cached(place / name, write) / file.stem


def _dialect(file: Path, suffix: str) -> dict[str, Any]:
    """Return how pandas reads a file: separator, quotes, and names of columns without a header.

    Quotes are characters where reading them as quotes tears rows or cells apart, as in GLUE's TSV
    files. A first line with a number or an image among its cells is a row: columns are
    column1, column2, ...
    """
    with file.open("rb") as stream:
        sample = stream.read(SNIFFED).decode(errors="replace")
    lines = sample.splitlines()[:-1] if len(sample) == SNIFFED else sample.splitlines()
    header = lines[0] if lines else ""
    default = "\t" if suffix == ".tsv" else ","
    separator = max(SEPARATORS, key=lambda sign: (header.count(sign), sign == default))
    separator = separator if header.count(separator) else default

    def torn(quoting: Literal[0, 3]) -> int:
        reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, quoting=quoting)
        widths = [len(row) for row in reader if row]
        return sum(width != widths[0] for width in widths)

    marks = (cell for line in lines for cell in line.split(separator) if cell.startswith('"'))
    whole = torn(csv.QUOTE_NONE) == 0 and not all(map(QUOTED.fullmatch, marks))
    plain = suffix == ".tsv" and (whole or torn(csv.QUOTE_NONE) < torn(csv.QUOTE_MINIMAL))
    dialect = {"sep": separator, "quoting": csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL}
    cells = next(csv.reader([header], delimiter=separator), [])
    if _is_row(cells):
        return {**dialect, "header": None, "names": [f"column{n + 1}" for n in range(len(cells))]}
    if twice := next((cell for cell in cells if cell and cells.count(cell) > 1), ""):
        raise ValueError(f"two columns are called {twice!r}; expected a name of its own for each")
    return dialect


def _is_row(cells: Sequence[str]) -> bool:
    """Whether a first line has a number or an image, and pandas wrote no names of its own."""
    names = [cell for cell in cells if cell]
    if any(map(IMAGE.fullmatch, names)):
        return True
    return any(map(NUMBER.fullmatch, names)) and names != [*map(str, range(len(names)))]


def _broken_line(files: Sequence[Path], plain: Sequence[Path]) -> UserError | None:
    """Return what is wrong with the first broken line of JSON lines; None for no such line."""
    if suffix_of(plain[0]) not in (".jsonl", ".ndjson"):
        return None
    broken = (
        UserError(f"{name}: unreadable: {line}; expected one JSON object in each line")
        for name, file in zip(files, plain, strict=True)
        if (line := broken_line(file))
    )
    return next(broken, None)


def _unreadable(files: Sequence[Path], error: Exception) -> UserError:
    names = ", ".join(str(file) for file in files[:3])
    reason = first_line(error.__cause__ or error)
    if pointer := next(filter(is_pointer, files), None):
        return UserError(
            f"{pointer}: a pointer of git-lfs, not its content; type git lfs pull in its repository"
        )
    if any(words in f"{error} {reason}" for words in NO_ROWS):
        return UserError(f"{names}: a split is empty; expected at least one row")
    if any(words in f"{error} {reason}" for words in OTHER_COLUMNS):
        reason = "its files differ in their columns; expected the same columns in each of a split"
    return UserError(f"{names}: unreadable: {reason}")
