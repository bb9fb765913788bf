"""The journal file of a study, which a worker that is killed neither locks nor breaks.

The lock is a file with its holder's name: it is removed once the holder is dead or, where nobody
can tell, after `GRACE` seconds. Optuna's own link to the journal holds for ever where it leads
nowhere: from a relative path, or on a machine that has the folder elsewhere. Its locks and these
exclude each other.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from moesuite.errors import UserError
from moesuite.tune.heartbeat import runs_here, this_worker

GRACE = 30.0  # seconds after which a lock is removed whose holder cannot be seen, as in Optuna
LONGEST = 0.5  # seconds between two looks at a lock
BLOCK = 4096  # bytes


class Journal(JournalFileBackend):
    """A journal whose last line may be torn: the next one that is written mends it."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append one line for each entry."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        path = Path(self._file_path)
        with locked(path), path.open("r+b") as stream:
            end = _whole(stream)
            stream.truncate(end)
            stream.seek(end)
            stream.write(lines.encode())
            stream.flush()
            os.fsync(stream.fileno())


def open_journal(path: Path) -> JournalStorage:
    """Open the journal of a study, or make it.

    Raises:
        UserError: for a file that is no journal, or has a broken line before its last.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(Journal(str(path)))
    except (ValueError, KeyError, TypeError):  # of json, and of what Optuna looks for in it
        with path.open("rb") as stream:
            broken = next((n for n, line in enumerate(stream, 1) if not _is_entry(line)), 0)
        raise UserError(
            f"storage={path}: line {broken} is no entry of a journal; expected one JSON object a "
            "line; move the file away, or take another study=<name>"
        ) from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file."""
    lock, token = path.with_name(f"{path.name}.lock"), f"{this_worker()} {uuid.uuid4().hex}"
    watched, since, pause = None, time.monotonic(), 0.001
    while not _create(lock, token):
        now = _stamp(lock)
        if now != watched:
            watched, since = now, time.monotonic()
        elif now and (_is_left(lock) or time.monotonic() - since > GRACE):
            _remove(lock, now)
            continue
        time.sleep(pause)
        pause = min(2 * pause, LONGEST)
    try:
        yield
    finally:
        if _holder(lock) == token:  # else it was taken for left, while this process was stopped
            lock.unlink(missing_ok=True)


def _create(lock: Path, token: str) -> bool:
    try:
        handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(token)
    return True


def _stamp(lock: Path) -> tuple[int, int] | None:
    """Return what tells one lock from the next; None if there is none."""
    try:
        status = lock.lstat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _holder(lock: Path) -> str:
    """Return the token of a lock; empty for none, for one that Optuna made, and just before."""
    with suppress(OSError):
        return "" if lock.is_symlink() else lock.read_text(encoding="utf-8")
    return ""


def _is_left(lock: Path) -> bool:
    """Return whether the holder of a lock is seen to be dead."""
    return runs_here(_holder(lock).partition(" ")[0]) is False


def _remove(lock: Path, judged: tuple[int, int]) -> None:
    """Remove a lock, but not one that another process made since it was judged."""
    aside = lock.with_name(f"{lock.name}{uuid.uuid4().hex}.rename")
    with suppress(FileNotFoundError):  # another process was faster
        lock.rename(aside)
        if _stamp(aside) != judged:
            with suppress(FileExistsError):
                os.link(aside, lock, follow_symlinks=False)
        aside.unlink()


def _whole(stream: BinaryIO) -> int:
    """Return where the whole lines of a journal end; a last one that lacks its end only gets it."""
    size = start = stream.seek(0, os.SEEK_END)
    tail = b""
    while start and b"\n" not in tail:
        start = max(0, start - BLOCK)
        stream.seek(start)
        tail = stream.read(size - start)
    torn = tail.rpartition(b"\n")[2]
    if torn and _is_entry(torn):
        stream.seek(size)
        stream.write(b"\n")
        return size + 1
    return size - len(torn)


def _is_entry(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
