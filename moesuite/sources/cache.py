"""Caches verified by content: a file that has changed is reported and made again.

Each folder of a cache holds the SHA-256 of its files; they are compared on reading, at about 0.2 s
for 100 MB.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

SEAL = "hashes.json"
# largest file of `datasets` in bytes whose content is hashed; of larger ones the size is compared
LARGEST = 2**33


def cache_folder() -> Path:
    """Return the folder for decoded data.

    It is `$MOESUITE_CACHE`, by default `moesuite` under `$XDG_CACHE_HOME` or `~/.cache`.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MOESUITE_CACHE") or Path(base) / "moesuite")


def cached(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder of files from the cache; make it if it is missing or has changed.

    Args:
        folder: appears whole or not at all.
        make: writes the files into an empty folder.
    """
    change = changed(folder) if folder.exists() else ""
    if change:
        tell(folder, change)
    if change or not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            whole = Path(place) / "whole"
            whole.mkdir()
            make(whole)
            (whole / SEAL).write_text(
                json.dumps({path.name: digest(path) for path in sorted(whole.iterdir())}),
                encoding="utf-8",
            )
            if change:
                with suppress(FileNotFoundError):  # another process was faster
                    folder.replace(Path(place) / "changed")
            try:
                whole.replace(folder)
            except OSError:  # another process was faster
                if not folder.exists():
                    raise
    return folder


def changed(folder: Path) -> str:
    """Return how a folder of `cached` has changed since it was written; empty for unchanged."""
    try:
        hashes = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        names = sorted(path.name for path in folder.iterdir() if path.name != SEAL)
        if names != sorted(hashes):
            return f"files are {', '.join(names)}, not {', '.join(sorted(hashes))}"
        return next(
            (f"{name} was changed" for name in names if digest(folder / name) != hashes[name]), ""
        )
    except (OSError, ValueError, TypeError):
        return f"{SEAL} is missing or unreadable"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tell(place: Path, change: str) -> None:
    """Report on the console that a cache is made again, and why."""
    print(f"cache {place}: {change}; made again", file=sys.stderr, flush=True)


def load_rows(*names: str | None, **options: Any) -> Any:
    """Return `datasets.load_dataset(*names, **options)`, verifying the Arrow files of its cache.

    The hash of a file is written beside it when it is first read.
    """
    import datasets
    import pyarrow

    try:
        rows = datasets.load_dataset(*names, **options)
        changes = ((file, _changed_since(file)) for file in _arrow_files(rows))
        change = next(((file, why) for file, why in changes if why), None)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            # of a network or disk; a truncated file raises Arrow's own error, without a number
            raise
        change = Path(datasets.config.HF_DATASETS_CACHE), str(error).splitlines()[0]
    if change is None:
        return rows
    tell(*change)
    rows = datasets.load_dataset(*names, **options, download_mode="reuse_cache_if_exists")
    for file in _arrow_files(rows):
        _hash_of(file).unlink(missing_ok=True)
        _changed_since(file)
    return rows


def _arrow_files(rows: Any) -> list[Path]:
    """Return the files that hold rows; empty for a stream."""
    return [Path(file["filename"]) for file in getattr(rows, "cache_files", [])]


def _hash_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _changed_since(file: Path) -> str:
    """Return how a file differs from when it was first read, in words; empty if it does not."""
    size = file.stat().st_size
    now = f"{size} {digest(file) if size <= LARGEST else ''}".strip()
    try:
        return "" if _hash_of(file).read_text(encoding="utf-8") == now else "was changed"
    except FileNotFoundError:
        with suppress(OSError):  # a shared read-only cache is not verified
            _hash_of(file).write_text(now, encoding="utf-8")
        return ""
