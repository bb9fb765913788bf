"""What is shown, and what is listed apart with the reason: no record can stop the others, none is left out silently."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from moesuite.artifacts import Certificate, StudyRecord
from moesuite.errors import UserError
from moesuite.leaderboard.store import File, read
from moesuite.record import SCHEMA, RunRecord, record_id

FINGERPRINT = re.compile(r"[a-z0-9]+:[0-9a-zA-Z]+")
# of data that comes with a pinned package, as `python -m moesuite.run` reads it
KNOWN_DATA = {
    "digits": "sha256:0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382",
    "mnist5k": "sha256:1f75c140503b3082c96134f5593303f3133e59989a92e21f060c644c655c3722",
}


def take(file: File) -> tuple[RunRecord, str]:
    """Read a record that can be shown.

    Returns:
        The record, and its text.

    Raises:
        UserError: for one that cannot be shown, and why, without the name of the file.
    """
    try:
        content = read(file.where)
        text = content.decode()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError("is no text") from None
    record = _parsed(text)
    if record.id != file.stem:
        raise UserError(f"its id is {record.id}; allowed: a file by the name of its id")
    if "NaN" in text or "Infinity" in text:
        for name, value in _numbers("", record.model_dump()):
            if not math.isfinite(value):
                raise UserError(f"{name} is {value}; allowed: finite numbers")
    if record.status == "ok" and record.primary not in record.quality:
        raise UserError(f"a finished run without {record.primary}, its ranking metric")
    _check_origin(record)
    return record, text


def _parsed(text: str) -> RunRecord:
    if not text.strip():
        raise UserError("is empty")
    try:
        record = RunRecord.model_validate_json(text)
        version, first = record.schema_version, None
    except ValidationError as error:
        version, first = _schema(text), error.errors()[0]
    if isinstance(version, int) and version > SCHEMA:
        raise UserError(f"of schema {version}, here up to {SCHEMA} is known; update moesuite")
    if isinstance(version, int) and version < SCHEMA:
        raise UserError(f"of schema {version}, which lacks what {SCHEMA} is checked by; run its command again")
    if first is None:
        return record
    where = ".".join(str(part) for part in first["loc"])
    raise UserError(f"not a run record of schema {SCHEMA}: {where}{': ' * bool(where)}{first['msg'].lower()}")


def _schema(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found.get("schema_version") if isinstance(found, dict) else None


def _check_origin(record: RunRecord) -> None:
    """Recompute the id, and look at the data's fingerprint."""
    made = record_id(record.config, record.contents, record.code, record.data_fingerprint)
    if made != record.id:
        raise UserError(f"its content hashes to {made}, not to its id: configuration, code or data were changed")
    if not FINGERPRINT.fullmatch(record.data_fingerprint):
        raise UserError(f"its data fingerprint is {record.data_fingerprint!r}; allowed: <algorithm>:<digest>")
    known = KNOWN_DATA.get(record.task)
    embedded = record.config.get("task", {}).get("embedded") and not record.config["task"].get("source")
    if known and embedded and record.data_fingerprint != known:
        raise UserError(f"its data fingerprint is {record.data_fingerprint}; that of {record.task} is {known}")


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}".lstrip("."), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(f"{name}.{index}", inner)


def same_content(one: str, other: str) -> bool:
    """Return whether two files hold the same record, however they are laid out."""
    return bool(json.loads(read(one)) == json.loads(read(other)))


Kind = TypeVar("Kind", Certificate, StudyRecord)


def beside(file: File, kind: type[Kind]) -> Kind:
    """Read a certificate or a study.

    Raises:
        UserError: for what is none, and why.
    """
    try:
        return kind.model_validate_json(read(file.where))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "certificate" if kind is Certificate else "study"
        raise UserError(f"not a {what}: {where}{': ' * bool(where)}{first['msg'].lower()}") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}") from None
