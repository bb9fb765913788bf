"""Where records come from: folders, and whatever fsspec lists (s3://, gs://, https://, …)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesuite.errors import UserError
from moesuite.records.store import CERTIFICATES, RECORD_DEPTH, ROUTING, STUDIES, VERIFIED

# what storages tell of a file's version
VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created")
LISTED_DEPTH = RECORD_DEPTH + 1  # files of a run lie in a folder beside its record


@dataclass(frozen=True)
class File:
    """A file that may be a record, or a certificate.

    Attributes:
        where: path or address.
        stamp: changes when the file or one beside it changes; empty if the storage does not say,
            so that the file is read anew.
        routing: path or address of the routing of test examples, or "".
        verified: path or address of the verdicts of reruns, or "".
    """

    where: str
    stamp: str
    routing: str = ""
    verified: str = ""

    @property
    def stem(self) -> str:
        """Name without folder and ending."""
        return self.where.rpartition("/")[2].removesuffix(".json")


@dataclass(frozen=True)
class Listing:
    """All files below some places, in the order of these."""

    records: list[File]
    certificates: list[File]
    studies: list[File]


def listing(places: Sequence[str]) -> Listing:
    """List records, certificates and studies; see `moesuite.records.store` for the layout.

    Args:
        places: folders or addresses.

    Raises:
        UserError: for a place that does not exist, cannot be reached, or needs a package that is
            not installed.
    """
    files = Listing([], [], [])
    for place in places:
        stamps = _remote(place) if "://" in place else _local(place)
        for name, stamp in sorted(stamps.items()):
            parts = name.split("/")
            if len(parts) == 2 and parts[0] == CERTIFICATES:
                files.certificates.append(File(_join(place, name), stamp))
            elif len(parts) == 2 and parts[0] == STUDIES:
                files.studies.append(File(_join(place, name), stamp))
            elif len(parts) == RECORD_DEPTH:
                files.records.append(_record(place, name, stamps))
    return files


def _record(place: str, name: str, stamps: Mapping[str, str]) -> File:
    """Return the file of a record, with those beside it."""
    beside = [f"{name.removesuffix('.json')}/{kind}" for kind in (ROUTING, VERIFIED)]
    routing, verified = (_join(place, other) if other in stamps else "" for other in beside)
    known = [stamps[name], *(stamps[other] for other in beside if other in stamps)]
    stamp = " ".join(known) if all(known) else ""
    return File(_join(place, name), stamp, routing, verified)


def read(where: str) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: if it cannot be read.
    """
    if "://" not in where:
        return Path(where).read_bytes()
    import fsspec

    try:
        with fsspec.open(where, "rb") as stream:
            content: bytes = stream.read()
            return content
    except OSError:
        raise
    except Exception as error:  # each storage has its own
        raise OSError(f"{type(error).__name__}: {error}") from None


def _join(place: str, name: str) -> str:
    return f"{place.rstrip('/')}/{name}"


def _local(place: str) -> dict[str, str]:
    """Return the stamp of each file by its name below a folder."""
    if not Path(place).is_dir():
        raise UserError(
            f"records={place} does not exist; allowed: folders that runs wrote to, or addresses "
            "such as s3://… and https://…, with commas between; first type python -m moesuite.run"
        )
    return dict(_walk(place, "", LISTED_DEPTH))


def _walk(folder: str, below: str, depth: int) -> Iterator[tuple[str, str]]:
    for item in os.scandir(folder):
        if item.is_dir():
            if depth > 1 and not item.name.startswith("."):
                yield from _walk(item.path, f"{below}{item.name}/", depth - 1)
        elif _is_listed(item.name, depth):
            try:
                status = item.stat()
            except OSError:  # a broken link: reading it will say so
                yield f"{below}{item.name}", ""
            else:
                yield f"{below}{item.name}", f"{status.st_size} {status.st_mtime_ns}"


def _is_listed(name: str, depth: int) -> bool:
    """Return whether a file counts; `depth`: levels that are left, 1 in the folder of a run."""
    is_json = name.endswith(".json") and not name.startswith(".")
    return is_json and (depth > 1 or name in (ROUTING, VERIFIED))


def _remote(place: str) -> dict[str, str]:
    """Return the stamp of each file by its name below an address."""
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(place)
        files: dict[str, Any] = system.find(root, maxdepth=LISTED_DEPTH, detail=True)
    except ImportError as error:
        raise UserError(f"records={place}: {error}") from None
    except Exception as error:  # each storage has its own
        raise UserError(
            f"records={place} cannot be listed: {str(error) or type(error).__name__}"
        ) from None
    if not files and not system.exists(root):
        raise UserError(
            f"records={place} does not exist, or cannot be reached; allowed: a folder, or an "
            "address that lists files"
        )
    start = len(root.rstrip("/")) + 1
    return {
        path[start:]: _stamp(details) for path, details in files.items() if path.endswith(".json")
    }


def _stamp(details: dict[str, Any]) -> str:
    """Return what changes with the content of a remote file, or "" if its storage says nothing."""
    version = next((details[key] for key in VERSION_KEYS if details.get(key)), None)
    return "" if version is None else f"{details.get('size')} {version}"
