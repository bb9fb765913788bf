"""The records folder: where its files are, and the only code that writes or finds them.

    <records>/<task>/<router>/<id>.json                 run record
    <records>/<task>/<router>/<id>/                     files of that run:
        last.ckpt, start.ckpt                               last checkpoint; start of upcycling
        routing.json, predictions.parquet                   a few test examples; all, if asked for
        verified.json, .verify/                             verdicts of reruns; reruns in progress
        metrics.csv, ...                                    what loggers and task families write
    <records>/certificates/<router>.json                certificate of a router
    <records>/studies/<name>.json, <name>.journal       record of a study; Optuna's journal
    <records>/.submitit/                                logs of SLURM jobs

Files are written whole or not at all: to a temporary file in the same folder, then fsync and
rename. A finished record is never overwritten silently. In a multi-device run only rank 0 writes.
Another storage for records is another version of this module; the leaderboard, which reads from
remote addresses too, takes names and layout from here. No torch.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from moesuite.errors import UserError
from moesuite.records.certificate import Certificate, Example, Looked, Verdict, Verified
from moesuite.records.record import RunRecord, parse_record
from moesuite.records.study import StudyRecord

CERTIFICATES, STUDIES, JOB_LOGS = "certificates", "studies", ".submitit"  # below <records>
ROUTING, VERIFIED, RERUNS = "routing.json", "verified.json", ".verify"  # below a run's folder
CHECKPOINT, START_CHECKPOINT = "last.ckpt", "start.ckpt"
PREDICTIONS = "predictions.parquet"
RECORD_DEPTH = 3  # parts of <task>/<router>/<id>.json


@dataclass(frozen=True)
class RunFiles:
    """Where the files of one run are; its record is `<records>/<task>/<router>/<id>.json`."""

    record: Path

    @property
    def folder(self) -> Path:
        """Folder of all files but the record."""
        return self.record.with_suffix("")

    @property
    def records(self) -> Path:
        """The records folder."""
        return self.record.parents[RECORD_DEPTH - 1]

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint, from which an interrupted run is resumed."""
        return self.folder / CHECKPOINT

    @property
    def start_checkpoint(self) -> Path:
        """What an upcycled run starts from; removed after training."""
        return self.folder / START_CHECKPOINT

    @property
    def routing(self) -> Path:
        """Routing of a few test examples."""
        return self.folder / ROUTING

    @property
    def predictions(self) -> Path:
        """Prediction of each test example, with predictions=true."""
        return self.folder / PREDICTIONS

    @property
    def verified(self) -> Path:
        """Verdicts of reruns."""
        return self.folder / VERIFIED

    @property
    def reruns(self) -> Path:
        """Records folder of reruns in progress."""
        return self.folder / RERUNS


def record_path(records: str | Path, task: str, router: str, identity: str) -> Path:
    """Return where a record is; a router outside the package is filed under its class's name."""
    return Path(records) / task / router.rpartition(":")[2] / f"{identity}.json"


def certificate_folder(records: str | Path) -> Path:
    """Return the folder of certificates."""
    return Path(records) / CERTIFICATES


def study_journal(records: str | Path, name: str) -> Path:
    """Return where Optuna keeps the trials of a study unless `storage=` names another place."""
    return Path(records) / STUDIES / f"{name}.journal"


def job_logs(records: str | Path) -> Path:
    """Return the folder of the logs of SLURM jobs."""
    return Path(records) / JOB_LOGS


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write to, and move it to `path` if the block ends without an error.

    The folder is made where it is missing; on an error the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def _write(path: Path, content: BaseModel, indent: int | None = 1) -> Path:
    write_text(path, content.model_dump_json(indent=indent) + "\n")
    return path


def write_record(path: Path, record: RunRecord, overwrite: bool = False) -> None:
    """Write a record.

    Raises:
        FileExistsError: if a finished record is there and `overwrite` is False.
    """
    if not overwrite and finished_record(path) is not None:
        raise FileExistsError(f"{path}: a finished record is never overwritten silently")
    _write(path, record)


def save_run(
    files: RunFiles,
    record: RunRecord,
    examples: list[Example],
    overwrite: bool = False,
    rank: int = 0,
) -> None:
    """Write a record, and before it the routing of a few test examples.

    A finished record that another process wrote meanwhile stays, unless `overwrite`.

    Args:
        files, record: of the run.
        examples: empty if there are none.
        overwrite: replace a finished record.
        rank: of this process in a multi-device run; all but rank 0 write nothing.
    """
    if rank != 0 or (not overwrite and finished_record(files.record) is not None):
        return
    if examples:
        _write(files.routing, Looked(id=record.id, examples=examples), indent=None)
    write_record(files.record, record, overwrite)


def write_certificate(records: str | Path, certificate: Certificate) -> Path:
    """Write the certificate of a router, over an older one; return its path."""
    return _write(certificate_folder(records) / f"{certificate.stem}.json", certificate)


def write_study(records: str | Path, study: StudyRecord) -> Path:
    """Write the record of a study as it stands, over an older one; return its path."""
    return _write(Path(records) / STUDIES / f"{study.name}.json", study)


def write_verdicts(files: RunFiles, identity: str, verdicts: list[Verdict]) -> Path:
    """Write all verdicts on a record, the oldest first; return their path."""
    return _write(files.verified, Verified(id=identity, verdicts=verdicts))


def remove_reruns(files: RunFiles) -> None:
    """Remove the reruns of a record whose verdict is written."""
    shutil.rmtree(files.reruns)


def read_record(path: Path) -> RunRecord:
    """Read one record.

    Raises:
        UserError: if it is not a record of this schema, and what to do with an older or newer one.
    """
    try:
        return parse_record(path.read_text(encoding="utf-8"))
    except (UserError, UnicodeDecodeError) as error:
        reason = error if isinstance(error, UserError) else "is no text"
        raise UserError(f"{path}: {reason}") from None


def finished_record(path: Path) -> RunRecord | None:
    """Read a record with status ok; return None if there is no file, or its run did not finish.

    Raises:
        UserError: as in `read_record`.
    """
    record = read_record(path) if path.exists() else None
    return record if record is not None and record.status == "ok" else None


def record_paths(records: str | Path) -> list[Path]:
    """List the files below a records folder that are named as run records are."""
    return sorted(Path(records).glob("*/" * (RECORD_DEPTH - 1) + "*.json"))


def neighbours(path: Path) -> list[RunRecord]:
    """Read all records beside one, of the same task and router; other files are skipped."""
    records = []
    for other in sorted(path.parent.glob("*.json")):
        with suppress(UserError):
            records.append(read_record(other))
    return records


def read_verdicts(files: RunFiles, identity: str) -> list[Verdict]:
    """Read the verdicts on a record so far, the oldest first.

    Raises:
        UserError: for a file that holds none, or those on another record.
    """
    if not files.verified.exists():
        return []
    try:
        verified = Verified.model_validate_json(files.verified.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{files.verified} holds no verdicts; move it away") from None
    if verified.id != identity:
        raise UserError(f"{files.verified} is of the run {verified.id}; move it away")
    return verified.verdicts
