"""Small boards of records made by hand, and the golden files of their pages.

`python -m tests.leaderboard.boards` writes the golden files anew.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from moesuite.leaderboard.__main__ import main
from moesuite.leaderboard.ingest import versions
from moesuite.leaderboard.ingest.entry import entry_of
from moesuite.leaderboard.ingest.versions import Kind, known
from moesuite.leaderboard.ranking.board import Board, boards
from moesuite.leaderboard.site.build import build
from moesuite.records.certificate import Certificate
from moesuite.records.record import RunRecord
from moesuite.records.store import RunFiles, record_path, write_record, write_text
from tests.leaderboard.records import looked_of, record_of

GOLDEN = Path(__file__).parent / "golden"


def example() -> list[RunRecord]:
    """Return a small board: five seeds of three routers, one failed run, one that looks ahead."""
    noise = [0.000, 0.004, -0.003, 0.002, -0.001]
    found = [record_of("dense", seed, 0.90 + n) for seed, n in enumerate(noise)]
    found += [
        record_of("good", seed, 0.93 + n + 0.001 * (-1) ** seed) for seed, n in enumerate(noise)
    ]
    found += [record_of("bad", seed, 0.70 - 2 * n) for seed, n in enumerate(noise)]
    found.append(record_of("soft_one", 0, 0.99, lookahead={"outputs": 0.5, "bits": 0.25}))
    failed = {
        "status": "failed",
        "reason": "the loss is nan at step 3 <b>",
        "quality": {},
        "compute": None,
        "curve": [],
    }
    found.append(record_of("broken", 0, **failed, health=[]))
    text: dict[str, Any] = {"task": "text", "family": "language", "causal": True}
    found += [record_of("dense", seed, 2.0 + n, **text) for seed, n in enumerate(noise)]
    found += [record_of("good", seed, 2.1 + noise[seed], **text) for seed in (0, 1)]
    return found


def put(folder: Path, records: list[RunRecord], looked: bool = True) -> list[Path]:
    """Write records as runs do, and what the first one's router looked at."""
    paths = []
    for record in records:
        path = record_path(folder, record.task, record.router, record.id)
        write_record(path, record, overwrite=True)
        paths.append(path)
        if looked and record.router == "good" and record.seed == 0:
            write_text(RunFiles(path).routing, looked_of(record).model_dump_json())
    return paths


def golden_files(site: Path) -> dict[str, str]:
    """Return the files of the example's site whose every byte is kept."""
    run = next(r.id for r in example() if r.router == "good")
    names = [
        "index.html",
        "tasks/mine.html",
        "tasks/text.html",
        "routers/good.html",
        f"runs/{run}.html",
        "apart.html",
    ]
    names += ["feed.xml", "data/mine.csv", "data/mine.curves.js"]
    names += [
        path.relative_to(site).as_posix()
        for path in sorted(site.glob("exports/every_eval_ever/text/good/*"))
    ]
    return {name: (site / name).read_text(encoding="utf-8") for name in names}


@contextmanager
def first_protocols() -> Iterator[None]:
    """Let the package know the first versions only, which records made by hand are of."""

    def first(kind: Kind, name: str) -> int | None:
        return None if known(kind, name) is None else 1

    with mock.patch.object(versions, "known", first):
        yield


def write_golden() -> None:
    """Write the golden files anew."""
    with tempfile.TemporaryDirectory() as folder, first_protocols():
        put(Path(folder) / "runs", example())
        build([f"{folder}/runs"], Path(folder) / "site")
        for stale in ("runs", "exports"):  # their names are ids
            shutil.rmtree(GOLDEN / stale, ignore_errors=True)
        for name, text in golden_files(Path(folder) / "site").items():
            write_text(GOLDEN / name, text)


def boards_of(records: list[RunRecord], **certificates: Certificate) -> list[Board]:
    found = [entry_of(record) for record in records]
    facts = {key: value for _, known in found for key, value in known.items()}
    return boards(
        [entry for entry, _ in found],
        facts,
        {router: [one] for router, one in certificates.items()},
    )


def contents(site: Path) -> dict[str, bytes]:
    return {
        p.relative_to(site).as_posix(): p.read_bytes()
        for p in site.rglob("*")
        if p.is_file() and ".moesuite" not in p.parts
    }


if __name__ == "__main__":
    write_golden()
    print(f"golden files in {GOLDEN}", file=sys.stderr)


def invoke(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["leaderboard", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)
