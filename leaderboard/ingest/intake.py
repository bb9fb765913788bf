"""Which records are shown; the others are listed with the reason.

No record can stop the others, and none is left out silently.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from moesuite.config.roles import partial_options
from moesuite.errors import UserError
from moesuite.leaderboard.gate.origin import check_command
from moesuite.leaderboard.gate.plausible import check_plausible
from moesuite.leaderboard.ingest.store import File, read
from moesuite.leaderboard.ingest.versions import unknown
from moesuite.records.certificate import Certificate, Looked, Verdict, Verified
from moesuite.records.protocol import FOLDERS
from moesuite.records.record import RunRecord, parse_record, record_id
from moesuite.records.study import StudyRecord
from moesuite.records.verification import contradiction

FINGERPRINT = re.compile(r"[a-z0-9]+:[0-9a-zA-Z]{8,128}")
LARGEST = 1e300  # of any number, so that sums are finite too
LONGEST = 200  # characters of a name, which is a part of file names
PICTURE = re.compile(r"data:image/(png|jpeg|webp);base64,[A-Za-z0-9+/=]+")
MOST_COLUMNS = 256  # patches a side of a picture
SECTIONS = ("task", "router", "backbone", "optim", "data", "trainer")
# fingerprints of data that comes with a pinned package
KNOWN_DATA = {
    "digits": "sha256:0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382",
    "mnist5k": "sha256:1f75c140503b3082c96134f5593303f3133e59989a92e21f060c644c655c3722",
}


def take(file: File) -> tuple[RunRecord, str]:
    """Read a record that can be shown; return it and its text.

    Raises:
        UserError: for one that cannot be shown: why, without the name of the file.
    """
    try:
        content = read(file.where)
        text = content.decode()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError("is no text") from None
    record = parse_record(text)
    if record.id != file.stem:
        raise UserError(f"its id is {record.id}; allowed: a file by the name of its id")
    _check_finite(record.model_dump())
    if record.status == "ok" and record.primary not in record.quality:
        raise UserError(f"a finished run without {record.primary}, its ranking metric")
    _check_origin(record)
    if partial := list(dict.fromkeys([*record.partial, *partial_options(record.config)])):
        options = ", ".join(partial)
        raise UserError(f"a partial run, by {options}; allowed: whole runs, without these options")
    check_plausible(record)
    return record, text


def _check_origin(record: RunRecord) -> None:
    """Recompute the id, and check what has to agree with the configuration that it is a hash of."""
    _check_names(record)
    digest = record_id(record.config, record.contents, record.protocol, record.data_fingerprint)
    if digest != record.id:
        raise UserError(
            f"its content hashes to {digest}, not to its id: configuration, protocol or data were "
            "changed"
        )
    if newer := unknown(record):
        raise UserError(f"of {newer}; update moesuite")
    if not FINGERPRINT.fullmatch(record.data_fingerprint):
        raise UserError(
            f"its data fingerprint is {record.data_fingerprint!r}; allowed: <algorithm>:<digest>"
        )
    known, task = KNOWN_DATA.get(record.task), record.config["task"]
    is_packaged = task.get("embedded") and not task.get("source")
    if known and is_packaged and record.data_fingerprint != known:
        raise UserError(
            f"its data fingerprint is {record.data_fingerprint}; that of {record.task} is {known}"
        )


def _check_names(record: RunRecord) -> None:
    config = record.config
    for section in SECTIONS:
        if not isinstance(config.get(section), dict):
            raise UserError(
                f"config.{section} is {config.get(section)!r:.40}; allowed: options by name"
            )
    names = {
        "task": config["task"].get("name"),
        "router": config["router"].get("name"),
        "backbone": config["backbone"].get("name"),
        "seed": config.get("seed"),
    }
    for name, value in names.items():
        if getattr(record, name) != value:
            raise UserError(
                f"{name} is {getattr(record, name)!r}, but {value!r:.40} in its configuration"
            )
    for name in ("task", "router", "backbone"):
        if not 0 < len(getattr(record, name)) <= LONGEST:
            raise UserError(
                f"{name} of {len(getattr(record, name))} characters; allowed are 1 to {LONGEST}"
            )
    if not record.contents.keys() <= (allowed := {"init", "upcycle", *FOLDERS}):
        raise UserError(
            f"contents of {', '.join(record.contents)}; allowed are {', '.join(sorted(allowed))}"
        )
    try:
        zone = datetime.datetime.fromisoformat(record.created).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise UserError(
            f"created is {record.created!r:.40}; allowed: a time with its zone, for example "
            "2026-01-31T12:00:00+00:00"
        )


def _check_finite(values: dict[str, Any]) -> None:
    if _is_finite(values):
        return
    for name, value in _numbers("", values):
        if not abs(value) <= LARGEST:
            shown = value if isinstance(value, float) else "huge"
            raise UserError(f"{name} is {shown}; allowed: finite numbers")


def _is_finite(value: Any) -> bool:
    """Return whether all numbers are finite; without their names, which take most of the time."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, int | float) or -LARGEST <= value <= LARGEST


def _numbers(name: str, value: Any) -> Iterator[tuple[str, int | float]]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}".lstrip("."), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(f"{name}.{index}", inner)


def looked_at(record: RunRecord, where: str) -> Looked:
    """Read the routing of test examples of a run.

    Raises:
        UserError: for that of another run, and for images that the page would have to download.
    """
    try:
        looked = Looked.model_validate_json(read(where))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"not what a router looked at: {str(error).splitlines()[0]}") from None
    if looked.id != record.id:
        raise UserError(f"of the run {looked.id}; allowed: of {record.id}, whose folder it is in")
    for example in looked.examples:
        if example.image and not PICTURE.fullmatch(example.image):
            raise UserError(
                f"an image is {example.image[:40]!r}; allowed: data:image/png;base64,… and the like"
            )
        if any(layer.columns > MOST_COLUMNS for layer in example.layers):
            raise UserError(f"a picture of more than {MOST_COLUMNS} patches a side")
    return looked


def verdicts_on(record: RunRecord, where: str) -> list[Verdict]:
    """Read the verdicts of reruns of a record.

    Raises:
        UserError: for verdicts on another record, and for one that its own figures contradict.
    """
    try:
        verified = Verified.model_validate_json(read(where))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"no verdicts on a record: {str(error).splitlines()[0]}") from None
    if verified.id != record.id:
        raise UserError(f"on the run {verified.id}; allowed: on {record.id}, whose folder it is in")
    for number, verdict in enumerate(verified.verdicts):
        if problem := contradiction(record, verdict):
            raise UserError(f"verdict {number}: {problem}")
    return verified.verdicts


def same_content(first: str, second: str) -> bool:
    """Return whether two files hold the same record, however they are laid out."""
    return bool(json.loads(read(first)) == json.loads(read(second)))


Kind = TypeVar("Kind", Certificate, StudyRecord)


def beside(file: File, kind: type[Kind]) -> Kind:
    """Read a certificate or a study.

    Raises:
        UserError: for another content, and why.
    """
    try:
        content: Kind = kind.model_validate_json(read(file.where))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "certificate" if kind is Certificate else "study"
        raise UserError(
            f"not a {what}: {where}{': ' * bool(where)}{first['msg'].lower()}"
        ) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}") from None
    if isinstance(content, StudyRecord):
        check_command(content.command)
        for trial in content.trials:
            if trial.command:
                check_command(trial.command)
    return content
