"""Files -> what is known of each, by several processes where there are many."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from moesuite.errors import UserError
from moesuite.leaderboard.ingest.agreement import claims_of
from moesuite.leaderboard.ingest.entry import entry_of
from moesuite.leaderboard.ingest.facts import Facts
from moesuite.leaderboard.ingest.intake import beside, looked_at, take, verdicts_on
from moesuite.leaderboard.ingest.selection import Known
from moesuite.leaderboard.ingest.store import File, Listing
from moesuite.leaderboard.ranking.board import slug
from moesuite.leaderboard.site.output_folder import Site
from moesuite.leaderboard.site.pages import run_name, run_page
from moesuite.records.certificate import Certificate, Certificates
from moesuite.records.record import RunRecord
from moesuite.records.study import StudyRecord

MANY, CHUNK, WORKERS = (
    200,
    100,
    2,
)  # files from which on processes pay; files that one takes at once; processes
Kind = TypeVar("Kind")
Progress = Callable[[int, int], None]


@dataclass
class Fresh:
    """What was read now.

    Attributes:
        known: by file.
        entries: by file, in JSON.
        facts: settings and contestants by hash.
        pages: files of which the page was written.
    """

    known: dict[str, Known] = field(default_factory=dict)
    entries: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    pages: set[str] = field(default_factory=set)

    def take(self, other: Fresh) -> None:
        """Add what another process read."""
        self.known |= other.known
        self.entries |= other.entries
        self.facts |= other.facts
        self.pages |= other.pages


def alone(files: Sequence[File]) -> frozenset[str]:
    """Return the files that no other one shares its record's id with: whose page is shown, should they be."""
    counts = Counter(file.stem for file in files)
    return frozenset(file.where for file in files if counts[file.stem] == 1)


def examined(
    files: list[File],
    site: Site | None,
    pages: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Fresh:
    """Read files, and write the pages of those in `pages` to `site`; they are not reproduced."""
    found = Fresh()
    parts = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    examine = partial(_examine, site=site, pages=pages)
    results: Iterable[Fresh] = map(examine, parts)
    if len(files) >= MANY:
        from concurrent.futures import (
            ProcessPoolExecutor,
        )  # takes longer to import than one record to read

        results = ProcessPoolExecutor(WORKERS).map(examine, parts)
    for part in results:
        found.take(part)
        if progress:
            progress(len(found.known), len(files))
    return found


def examined_again(file: File, reproductions: Sequence[File], site: Site) -> Fresh:
    """Read a file and those of its reproductions, and write its page."""
    return _examine([file], site, frozenset({file.where}), reproductions)


def _examine(
    files: list[File], site: Site | None, pages: frozenset[str], reproductions: Sequence[File] = ()
) -> Fresh:
    found = Fresh()
    for file in files:
        wanted = site is not None and file.where in pages
        try:
            page = _read(file, wanted, found, reproductions)
        except UserError as error:
            found.known[file.where] = {"stamp": file.stamp, "problem": str(error)}
            continue
        except Exception as error:  # whatever a record holds, it must not stop the others
            problem = f"cannot be shown: {type(error).__name__}: {error}".splitlines()[0][:300]
            found.known[file.where] = {"stamp": file.stamp, "problem": problem}
            continue
        if wanted and site is not None:  # a disk that is full is no record's fault
            site.write(run_name(found.known[file.where]["id"]), page)
            found.pages.add(file.where)
    return found


def _read(file: File, wanted: bool, found: Fresh, reproductions: Sequence[File]) -> str:
    """Read a record; return its page, if that is wanted."""
    record, text = take(file)
    known: Known = {"stamp": file.stamp, "task": slug(record.task), "aside": []}
    looked = _of_run(looked_at, record, file.routing, known)
    verdicts = _of_run(verdicts_on, record, file.verified, known) or []
    entry, facts = entry_of(record, verdicts)
    known |= {name: getattr(record, name) for name in ("id", "status", "created")}
    known["content"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    known["verified"] = [entry.verified, entry.refuted]
    known["quality"] = {name: quality.value for name, quality in record.quality.items()}
    known["claims"] = (
        claims_of(record, entry, facts[entry.setting]) if record.status == "ok" else {}
    )
    page = (
        run_page(record, looked, [take(other)[0] for other in reproductions], verdicts)
        if wanted
        else ""
    )
    found.known[file.where] = known
    found.entries[file.where] = entry.model_dump_json()
    found.facts |= facts
    return page


def _of_run(
    read: Callable[[RunRecord, str], Kind], record: RunRecord, where: str, known: Known
) -> Kind | None:
    """Return what is kept of a run beside its record; what is none of it is told in `known`."""
    try:
        return read(record, where) if where else None
    except UserError as error:
        known["aside"].append(f"{where}: {error}")
        return None


def beside_records(found: Listing) -> tuple[Certificates, dict[str, StudyRecord], list[str]]:
    """Return certificates by router, studies by name, the first place's before others', and a line for what is none."""
    certificates: dict[str, dict[str, Certificate]] = {}
    studies, problems = dict[str, StudyRecord](), list[str]()
    for file in found.certificates + found.studies:
        try:
            if file in found.certificates:
                certificate = beside(file, Certificate)
                if certificate.stem != file.stem:
                    raise UserError(
                        f"of {certificate.router}; allowed: a file by the name of its router, {certificate.stem}.json"
                    )
                of_router = certificates.setdefault(certificate.router, {})
                if of_router.setdefault(certificate.stem, certificate) != certificate:
                    raise UserError(f"another certificate of {certificate.router} comes before it")
            else:
                study = beside(file, StudyRecord)
                studies.setdefault(study.name, study)
        except UserError as error:
            problems.append(f"{file.where}: {error}")
    by_router = {router: list(of_options.values()) for router, of_options in certificates.items()}
    return by_router, studies, problems
