"""Fingerprints of local data: of the contents of its files, hashed once.

A hash is read from the cache while path, size, times of change and inode of its file stay the same.
Of more than `LARGE` bytes only a sample is hashed; sizes and times of change stand for the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from moesuite.errors import UserError
from moesuite.progress import track
from moesuite.records.store import write_text
from moesuite.sources.cache import cache_folder, digest

LARGE = 2**38  # bytes, 256 GiB: hashing more would take most of an hour
SAMPLE = 1000  # files of a larger source that are hashed
TOLD = 2**30  # bytes from which progress and duration are told
# a file that changed this shortly before it was hashed may change again within the same tick of
# its clock: its hash is not cached
TICK = 2_000_000_000  # nanoseconds


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a source.

    Attributes:
        value: "sha256:…" of all contents, or "sample:…".
        note: what was hashed, for the reader; empty if all was.
    """

    value: str
    note: str = ""


def fingerprint(splits: Mapping[str, Iterable[tuple[str, Path]]], folder: Path) -> Fingerprint:
    """Return the fingerprint of files in their roles.

    Args:
        splits: role -> (name, file) in the order of reading; a name is what is read from the path
            itself (a class folder), or empty.
        folder: of the source; its hashes are cached together.
    """
    lines = [(role, name, file) for role, files in splits.items() for name, file in files]
    files = sorted({file for _, _, file in lines})
    stats = {file: _stat(file) for file in files}
    total = sum(stat.st_size for stat in stats.values())
    if total <= LARGE:
        hashes = dict(zip(files, content_hashes(files, folder), strict=True))
        whole = hashlib.sha256()
        for role, name, file in lines:
            whole.update(f"{role} {name} {hashes[file]}\n".encode())
        return Fingerprint(f"sha256:{whole.hexdigest()}")
    sample = files[:: max(1, len(files) // SAMPLE)]
    hashes = dict(zip(sample, content_hashes(sample, folder), strict=True))
    whole = hashlib.sha256()
    for role, name, file in lines:
        stat = stats[file]
        seen = f"{stat.st_size} {stat.st_mtime_ns} {hashes.get(file, '')}"
        whole.update(f"{role} {name} {seen}\n".encode())
    note = (
        f"fingerprint of {total / 2**30:,.0f} GiB: contents of {len(sample):,} of {len(files):,} "
        "files, size and time of change of all"
    )
    return Fingerprint(f"sample:{whole.hexdigest()}", note)


def content_hashes(files: Sequence[Path], folder: Path) -> list[str]:
    """Return the SHA-256 of each file's content, in parallel, from the cache where it is unchanged.

    Args:
        files: to hash.
        folder: their source; names the file of the cache.
    """
    place = str(folder.resolve())
    index = cache_folder() / "hashes" / f"{hashlib.sha256(place.encode()).hexdigest()[:20]}.json"
    cached = _read(index)
    stats = {str(file): _stat(file) for file in files}
    # `st_ctime` tells a file that was overwritten and given its old date, as by `cp -p`
    identity = {
        path: [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        for path, stat in stats.items()
    }
    hashes = {
        path: cached[path][1]
        for path, known in identity.items()
        if path in cached and cached[path][0] == known
    }
    missing = [path for path in stats if path not in hashes]
    if missing:
        begun = time.time_ns()
        hashes |= zip(missing, _hash(missing, sum(stats[p].st_size for p in missing)), strict=True)
        settled = [path for path in missing if stats[path].st_ctime_ns < begun - TICK]
        cached |= {path: (identity[path], hashes[path]) for path in settled}
        if settled:
            with suppress(OSError):  # a cache that cannot be written costs time only
                write_text(index, json.dumps(cached))
    return [hashes[str(file)] for file in files]


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:  # for example a link to nothing
        raise UserError(
            f"{file} cannot be read: {error.strerror}; expected a file; bring back what it links "
            "to, or remove it"
        ) from None


def _hash(paths: Sequence[str], size: int) -> list[str]:
    begun = time.monotonic()
    # hashing releases the interpreter's lock; more threads than cores hide waiting for a disk
    with ThreadPoolExecutor(min(32, 2 * (os.cpu_count() or 1))) as pool:
        done = pool.map(lambda path: digest(Path(path)), paths)
        if size < TOLD:
            return list(done)
        told = f"hashing {len(paths):,} files, {size / 2**30:,.1f} GiB, once"
        print(told, file=sys.stderr, flush=True)
        hashes = list(track(done, "hashing, once", len(paths), "files"))
    seconds = time.monotonic() - begun
    print(f"hashed in {seconds:,.0f} s; kept in {cache_folder()}", file=sys.stderr, flush=True)
    return hashes


def _read(index: Path) -> dict[str, tuple[list[int], str]]:
    try:
        return {
            path: (known, hash_)
            for path, (known, hash_) in json.loads(index.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
