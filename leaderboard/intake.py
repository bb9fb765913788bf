"""What is shown, and what is listed apart with the reason: no record can stop the others, none is left out silently."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moesuite.errors import UserError
from moesuite.record import SCHEMA, RunRecord, read_record


@dataclass(frozen=True)
class Intake:
    """Records to show, and for each one left out a line: its file, and why."""

    records: list[RunRecord]
    problems: list[str]


def take(folders: Sequence[str | Path]) -> Intake:
    """Read every record below `folders`, each record once; contradictory ones, of one id and other content, not at all.

    Raises:
        UserError: if a folder does not exist.
    """
    found: dict[str, tuple[Path, RunRecord]] = {}
    problems, contradictory = [], set[str]()
    for path in _files(folders):
        try:
            record = _read(path)
        except (UserError, OSError, UnicodeDecodeError) as error:
            line = str(error)
            problems.append(line if str(path) in line else f"{path}: {line}")
            continue
        first, known = found.setdefault(record.id, (path, record))
        if first == path:
            continue
        same = known == record
        problems.append(f"{path}: {'the same record' if same else 'the same id with other content'} as {first}")
        contradictory |= set() if same else {record.id}
    return Intake([record for _, record in found.values() if record.id not in contradictory], problems)


def _files(folders: Sequence[str | Path]) -> list[Path]:
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(
                f"records={folder} does not exist; allowed: folders that runs wrote to, with commas between; first "
                "type python -m moesuite.run"
            )
    return [path for folder in folders for path in sorted(Path(folder).glob("*/*/*.json"))]


def _read(path: Path) -> RunRecord:
    """Read a record that can be shown.

    Raises:
        UserError: for one that cannot, and why.
    """
    record = read_record(path)
    if record.schema_version > SCHEMA:
        raise UserError(f"{path}: of schema {record.schema_version}, here up to {SCHEMA} is known; update moesuite")
    if record.id != path.stem:
        raise UserError(f"{path}: its id is {record.id}; allowed: a file by the name of its id")
    for name, quality in record.quality.items():
        if not math.isfinite(quality.value):
            raise UserError(f"{path}: {name} is {quality.value}; allowed: finite numbers")
    if record.status == "ok" and record.primary not in record.quality:
        raise UserError(f"{path}: a finished run without {record.primary}, its ranking metric")
    return record
