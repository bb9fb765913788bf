"""Where records come from: folders, and whatever fsspec reaches (s3://, gs://, an http listing, …)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesuite.errors import UserError
from moesuite.records.store import CERTIFICATES, RECORD_DEPTH, ROUTING, STUDIES, VERIFIED

LISTED_DEPTH = RECORD_DEPTH + 1  # files of a run lie in a folder beside its record


@dataclass(frozen=True)
class File:
    """A file that may be a record, or a certificate.

    Attributes:
        where: path or address.
        stamp: changes when the file, or one that belongs to it, changes; empty: not known, read it
            anew.
        routing: where it is kept what the run's router looked at; empty: nowhere.
        verified: where it is kept what running it again showed; empty: nowhere.
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
    """All files below the places that were given, in the order of these."""

    records: list[File]
    certificates: list[File]
    studies: list[File]


def listing(places: Sequence[str]) -> Listing:
    """List `<place>/<task>/<router>/<id>.json`, `<place>/certificates/<router>.json` and `<place>/studies/<name>.json`.

    Raises:
        UserError: for a place that does not exist, cannot be reached, or needs a package that is
            not installed.
    """
    found = Listing([], [], [])
    for place in places:
        known = _remote(place) if "://" in place else _local(place)
        for name, stamp in sorted(known.items()):
            parts = name.split("/")
            if len(parts) == 2 and parts[0] == CERTIFICATES:
                found.certificates.append(File(_join(place, name), stamp))
            elif len(parts) == 2 and parts[0] == STUDIES:
                found.studies.append(File(_join(place, name), stamp))
            elif len(parts) == RECORD_DEPTH:
                beside = [f"{name.removesuffix('.json')}/{kind}" for kind in (ROUTING, VERIFIED)]
                stamps = [stamp, *(known[other] for other in beside if other in known)]
                places_of = [_join(place, other) if other in known else "" for other in beside]
                found.records.append(
                    File(_join(place, name), " ".join(stamps) if all(stamps) else "", *places_of)
                )
    return found


def read(where: str) -> bytes:
    """Return the content of a file. Raises OSError if that is not possible."""
    if "://" not in where:
        return Path(where).read_bytes()
    import fsspec

    try:
        with fsspec.open(where, "rb") as stream:
            content: bytes = stream.read()
            return content
    except OSError:
        raise
    except Exception as error:  # each system has its own
        raise OSError(f"{type(error).__name__}: {error}") from None


def _join(place: str, name: str) -> str:
    return f"{place.rstrip('/')}/{name}"


def _local(place: str) -> dict[str, str]:
    """Return the stamp of each file by its name below a folder."""
    if not Path(place).is_dir():
        raise UserError(
            f"records={place} does not exist; allowed: folders that runs wrote to, or addresses such as s3://… and "
            "https://…, with commas between; first type python -m moesuite.run"
        )
    return dict(_walk(place, "", LISTED_DEPTH))


def _walk(folder: str, below: str, depth: int) -> Iterator[tuple[str, str]]:
    for item in os.scandir(folder):
        if item.is_dir():
            if depth > 1 and not item.name.startswith("."):
                yield from _walk(item.path, f"{below}{item.name}/", depth - 1)
        elif (
            item.name.endswith(".json")
            and not item.name.startswith(".")
            and (depth > 1 or item.name in (ROUTING, VERIFIED))
        ):
            try:
                known = item.stat()
            except OSError:  # a link to nowhere: reading it will say so
                yield f"{below}{item.name}", ""
            else:
                yield f"{below}{item.name}", f"{known.st_size} {known.st_mtime_ns}"


def _remote(place: str) -> dict[str, str]:
    """Return the stamp of each file by its name below an address."""
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(place)
        found: dict[str, Any] = system.find(root, maxdepth=LISTED_DEPTH, detail=True)
    except ImportError as error:
        raise UserError(f"records={place}: {error}") from None
    except Exception as error:  # each system has its own
        raise UserError(
            f"records={place} cannot be listed: {str(error) or type(error).__name__}"
        ) from None
    if not found and not system.exists(root):
        raise UserError(
            f"records={place} does not exist, or cannot be reached; allowed: a folder, or an address that lists files"
        )
    start = len(root.rstrip("/")) + 1
    return {path[start:]: _stamp(known) for path, known in found.items() if path.endswith(".json")}


def _stamp(known: dict[str, Any]) -> str:
    """Return what tells versions of a remote file apart; empty where its system tells nothing."""
    version = next(
        (
            known[key]
            for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created")
            if known.get(key)
        ),
        None,
    )
    return "" if version is None else f"{known.get('size')} {version}"
