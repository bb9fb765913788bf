"""The output folder: written file by file, with what the next build needs to know.

A folder that no build has written is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from moesuite.errors import UserError

KEPT = ".moesuite"  # what is known of records; marks a folder that a build has written
INDEX = "index.json"
# what pages follow from: their code, and what they show or read of the package
ROOMS = (
    *("errors", "config", "discovery", "statistics", "records", "routers", "tasks"),
    "leaderboard",
)
SOURCES = {".py", ".html", ".css", ".js", ".yaml"}


class Site:
    """An output folder.

    Args:
        out: a folder that does not exist, is empty, or was written by a build.

    Raises:
        UserError: for any other, or one that cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.kept = out / KEPT
        try:
            if out.exists() and not self.kept.is_dir() and (not out.is_dir() or any(out.iterdir())):
                raise UserError(
                    f"out={out} holds files that the leaderboard did not write, and will not "
                    "overwrite; allowed: a new or empty folder, or an earlier build; type for "
                    "example out=site"
                )
            self.kept.mkdir(parents=True, exist_ok=True)
            (self.kept / INDEX).touch()
        except OSError as error:
            raise UserError(
                f"out={out} cannot be written: {error.strerror}; type for example out=site"
            ) from None

    def write(self, name: str, text: str) -> bool:
        """Write a file, whole or not at all, if its content is new; return whether it was new."""
        path, content = self.out / name, text.encode()
        try:
            if path.read_bytes() == content:
                return False
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        part.replace(path)
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Remove files of an earlier build, and folders that are then empty."""
        for name in names:
            path = self.out / name
            path.unlink(missing_ok=True)
            for folder in path.relative_to(self.out).parents:
                place = self.out / folder
                if folder.parts and place.is_dir() and not any(place.iterdir()):
                    place.rmdir()

    def keep(self, name: str, value: Any) -> None:
        """Keep a JSON value for the next build."""
        self.write(f"{KEPT}/{name}", json.dumps(value, separators=(",", ":")))

    def known(self, name: str) -> Any:
        """Return what an earlier build kept, or None if it is missing or not readable."""
        try:
            return json.loads((self.kept / name).read_bytes())
        except (OSError, ValueError):
            return None


@cache
def generator() -> str:
    """Return the hash of all sources that pages follow from; after a change all are built anew."""
    digest = hashlib.sha256()
    for room in ROOMS:
        place = _place(f"moesuite.{room}")
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in (path for path in files if path.suffix in SOURCES):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _place(module: str) -> Path:
    """Return the folder of a package, or the file of a module, without importing it."""
    spec = find_spec(module)
    assert spec is not None
    return Path(next(iter(spec.submodule_search_locations or [spec.origin or ""])))
