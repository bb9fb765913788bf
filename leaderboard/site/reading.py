"""Files -> what is known of each, in several processes where there are many."""

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
from moesuite.leaderboard.ingest.selection import Known, Selection, selected
from moesuite.leaderboard.ingest.store import File, Listing, listing
from moesuite.leaderboard.ranking.board import slug
from moesuite.leaderboard.site.output_folder import Site
from moesuite.leaderboard.site.pages import run_name, run_page
from moesuite.records.certificate import Certificate, Certificates
from moesuite.records.record import RunRecord
from moesuite.records.study import StudyRecord

MANY = 200  # files from which on several processes are faster
CHUNK = 100  # files that a process takes at once
WORKERS = 2  # processes
LONGEST_PROBLEM = 300  # characters
Kind = TypeVar("Kind")
Progress = Callable[[int, int], None]


@dataclass
class Fresh:
    """What was read for this build.

    Attributes:
        known: by file.
        entries: by file, as JSON.
        facts: settings and contestants by hash.
        pages: files of runs whose page was written.
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


def unique(files: Sequence[File]) -> frozenset[str]:
    """Return the files whose record has an id of its own: without reproductions to show."""
    counts = Counter(file.stem for file in files)
    return frozenset(file.where for file in files if counts[file.stem] == 1)


def examined(
    files: list[File],
    site: Site | None,
    pages: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Fresh:
    """Read files.

    Args:
        files: of records.
        site: to write pages to; None to write none.
        pages: files of runs without reproductions, whose pages are written at once.
        progress: called with (files read, files to read).
    """
    fresh = Fresh()
    parts = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    examine = partial(_examine, site=site, pages=pages)
    results: Iterable[Fresh] = map(examine, parts)
    if len(files) >= MANY:
        # takes longer to import than one record to read
        from concurrent.futures import ProcessPoolExecutor

        results = ProcessPoolExecutor(WORKERS).map(examine, parts)
    for part in results:
        fresh.take(part)
        if progress:
            progress(len(fresh.known), len(files))
    return fresh


@dataclass(frozen=True)
class Records:
    """All records below some places, read without writing anything.

    Attributes:
        fresh: what was read.
        selection: which of them count.
        certificates: by router.
        problems: a line for each file that is left out.
    """

    fresh: Fresh
    selection: Selection
    certificates: Certificates
    problems: list[str]


def read_records(places: Sequence[str], progress: Progress | None = None) -> Records:
    """Read all records below some places.

    Args:
        places: folders or addresses of records.
        progress: called with (files read, files to read).

    Raises:
        UserError: for a place that cannot be read.
    """
    files = listing(places)
    fresh = examined(files.records, None, progress=progress)
    selection = selected(files.records, fresh.known)
    certificates, _, broken = beside_records(files)
    return Records(fresh, selection, certificates, selection.problems + broken)


def examined_again(file: File, reproductions: Sequence[File], site: Site) -> Fresh:
    """Read a file and those of its reproductions, and write the page of the run."""
    return _examine([file], site, frozenset({file.where}), reproductions)


def _examine(
    files: list[File], site: Site | None, pages: frozenset[str], reproductions: Sequence[File] = ()
) -> Fresh:
    fresh = Fresh()
    for file in files:
        has_page = site is not None and file.where in pages
        try:
            page = _read(file, has_page, fresh, reproductions)
        except UserError as error:
            fresh.known[file.where] = {"stamp": file.stamp, "problem": str(error)}
            continue
        except Exception as error:  # whatever a record holds, it must not stop the others
            problem = f"cannot be shown: {type(error).__name__}: {error}".splitlines()[0]
            fresh.known[file.where] = {"stamp": file.stamp, "problem": problem[:LONGEST_PROBLEM]}
            continue
        if has_page and site is not None:  # outside: a full disk is no fault of the record
            site.write(run_name(fresh.known[file.where]["id"]), page)
            fresh.pages.add(file.where)
    return fresh


def _read(file: File, has_page: bool, fresh: Fresh, reproductions: Sequence[File]) -> str:
    """Read a record; return its page, or "" if it has none yet."""
    record, text = take(file)
    known: Known = {"stamp": file.stamp, "task": slug(record.task), "aside": []}
    looked = _beside(looked_at, record, file.routing, known)
    verdicts = _beside(verdicts_on, record, file.verified, known) or []
    entry, facts = entry_of(record, verdicts)
    known |= {name: getattr(record, name) for name in ("id", "status", "created")}
    known["content"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    known["verified"] = [entry.verified, entry.refuted]
    known["quality"] = {name: quality.value for name, quality in record.quality.items()}
    known["claims"] = (
        claims_of(record, entry, facts[entry.setting]) if record.status == "ok" else {}
    )
    page = ""
    if has_page:
        page = run_page(record, looked, [take(other)[0] for other in reproductions], verdicts)
    fresh.known[file.where] = known
    fresh.entries[file.where] = entry.model_dump_json()
    fresh.facts |= facts
    return page


def _beside(
    read: Callable[[RunRecord, str], Kind], record: RunRecord, where: str, known: Known
) -> Kind | None:
    """Return a file beside the record of a run, or None; problems are added to `known`."""
    try:
        return read(record, where) if where else None
    except UserError as error:
        known["aside"].append(f"{where}: {error}")
        return None


def beside_records(files: Listing) -> tuple[Certificates, dict[str, StudyRecord], list[str]]:
    """Return certificates by router, studies by name, and a line for each file that is neither.

    Of several of one name, that of the first place counts.
    """
    certificates: dict[str, dict[str, Certificate]] = {}
    studies, problems = dict[str, StudyRecord](), list[str]()
    for file in files.certificates:
        try:
            _add_certificate(file, certificates)
        except UserError as error:
            problems.append(f"{file.where}: {error}")
    for file in files.studies:
        try:
            study = beside(file, StudyRecord)
            studies.setdefault(study.name, study)
        except UserError as error:
            problems.append(f"{file.where}: {error}")
    by_router = {router: list(of_options.values()) for router, of_options in certificates.items()}
    return by_router, studies, problems


def _add_certificate(file: File, certificates: dict[str, dict[str, Certificate]]) -> None:
    certificate = beside(file, Certificate)
    router, stem = certificate.router, certificate.stem
    if stem != file.stem:
        raise UserError(f"of {router}; allowed: a file by the name of its router, {stem}.json")
    if certificates.setdefault(router, {}).setdefault(stem, certificate) != certificate:
        raise UserError(f"another certificate of {router} comes before it")
