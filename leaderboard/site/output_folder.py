"""The folder of pages: ours or refused, written file by file, and what was read for it kept between builds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from moesuite.errors import UserError

KEPT = ".moesuite"  # what is known of records, and the mark that the folder is ours
INDEX = "index.json"
LOOKS = {".py", ".html", ".css", ".js", ".yaml"}  # what decides how pages look


class Site:
    """An output folder.

    Args:
        out: a folder that does not exist, is empty, or was written by a build.

    Raises:
        UserError: for any other.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.kept = out, out / KEPT
        try:
            if out.exists() and not self.kept.is_dir() and (not out.is_dir() or any(out.iterdir())):
                raise UserError(
                    f"out={out} holds files that the leaderboard did not write, and will not overwrite; allowed: a new "
                    "or empty folder, or an earlier build; type for example out=site"
                )
            self.kept.mkdir(parents=True, exist_ok=True)
            (self.kept / INDEX).touch()
        except OSError as error:
            raise UserError(
                f"out={out} cannot be written: {error.strerror}; type for example out=site"
            ) from None

    def write(self, name: str, text: str) -> bool:
        """Write a file, whole or not at all, if its content is new; return whether it was."""
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
        """Remove files of an earlier build, and folders that are empty then."""
        for name in names:
            path = self.out / name
            path.unlink(missing_ok=True)
            for folder in path.relative_to(self.out).parents:
                if (
                    folder.parts
                    and (self.out / folder).is_dir()
                    and not any((self.out / folder).iterdir())
                ):
                    (self.out / folder).rmdir()

    def keep(self, name: str, value: Any) -> None:
        """Keep something for the next build."""
        self.write(f"{KEPT}/{name}", json.dumps(value, separators=(",", ":")))

    def known(self, name: str) -> Any:
        """Return what an earlier build kept; None if that is nothing, or not readable."""
        try:
            return json.loads((self.kept / name).read_bytes())
        except (OSError, ValueError):
            return None


@cache
def generator() -> str:
    """Return the hash of everything that decides how pages look: after a change all of them are made anew."""
    engine, own = find_spec("moesuite"), Path(__file__).parents[1]
    assert engine is not None and engine.origin is not None
    files = [*Path(engine.origin).parent.rglob("*.py"), *own.rglob("*")]
    digest = hashlib.sha256()
    for path in sorted({path for path in files if path.suffix in LOOKS}):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
