"""Files -> what is known of each, by several processes where there are many; and which of them are shown."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from moesuite.artifacts import Certificate, StudyRecord
from moesuite.errors import UserError
from moesuite.leaderboard.board import slug
from moesuite.leaderboard.entry import Facts, entry_of
from moesuite.leaderboard.intake import beside, looked_at, same_content, take
from moesuite.leaderboard.pages import run_name, run_page
from moesuite.leaderboard.site import Site
from moesuite.leaderboard.store import File, Listing

MANY, CHUNK, WORKERS = 200, 100, 2  # files from which on processes pay; files that one takes at once; processes
Known = dict[str, Any]  # of a file: its stamp, and a problem, or id, content and task
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


def first_of_each(files: Sequence[File]) -> frozenset[str]:
    """Return the first file of each record: its page is the one that is shown, should there be others."""
    return frozenset({file.stem: file.where for file in reversed(files)}.values())


def examined(
    files: list[File], site: Site | None, pages: frozenset[str] = frozenset(), progress: Progress | None = None
) -> Fresh:
    """Read files, and write the pages of those in `pages` to `site`."""
    found = Fresh()
    parts = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    examine = partial(_examine, site=site, pages=pages)
    results: Iterable[Fresh] = map(examine, parts)
    if len(files) >= MANY:
        from concurrent.futures import ProcessPoolExecutor  # takes longer to import than one record to read

        results = ProcessPoolExecutor(WORKERS).map(examine, parts)
    for part in results:
        found.take(part)
        if progress:
            progress(len(found.known), len(files))
    return found


def _examine(files: list[File], site: Site | None, pages: frozenset[str]) -> Fresh:
    found = Fresh()
    for file in files:
        wanted = site is not None and file.where in pages
        try:
            page = _read(file, wanted, found)
        except UserError as error:
            found.known[file.where] = {"stamp": file.stamp, "problem": str(error)}
            continue
        except Exception as error:  # whatever a record holds, it must not stop the others
            problem = f"cannot be shown: {type(error).__name__}: {error}"[:300]
            found.known[file.where] = {"stamp": file.stamp, "problem": problem}
            continue
        if wanted and site is not None:  # a disk that is full is no record's fault
            site.write(run_name(found.known[file.where]["id"]), page)
            found.pages.add(file.where)
    return found


def _read(file: File, wanted: bool, found: Fresh) -> str:
    """Read a record; return its page, if that is wanted."""
    record, text = take(file)
    entry, facts = entry_of(record)
    known = {"stamp": file.stamp, "id": record.id, "task": slug(record.task)}
    known["content"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    looked = None
    if file.routing:
        try:
            looked = looked_at(record, file.routing)
        except UserError as error:
            known["aside"] = f"{file.routing}: {error}"
    page = run_page(record, looked) if wanted else ""
    found.known[file.where] = known
    found.entries[file.where] = entry.model_dump_json()
    found.facts |= facts
    return page


def selected(files: Sequence[File], known: dict[str, Known]) -> tuple[set[str], list[str]]:
    """Return the files that are shown, each record once, and a line for every other one.

    Of records of one id and other content none is shown.
    """
    by_id, problems = defaultdict[str, list[str]](list), []
    for file in files:
        one = known[file.where]
        if "problem" in one:
            problems.append(f"{file.where}: {one['problem']}")
        else:
            by_id[one["id"]].append(file.where)
            problems += [one["aside"]] if "aside" in one else []
    shown = set[str]()
    for first, *others in by_id.values():
        same = [known[other]["content"] == known[first]["content"] or same_content(other, first) for other in others]
        how = {True: "the same record", False: "the same id with other content"}
        problems += [f"{where}: {how[equal]} as {first}" for where, equal in zip(others, same, strict=True)]
        if all(same):
            shown.add(first)
        else:
            problems.append(f"{first}: the same id with other content as {others[same.index(False)]}")
    return shown, problems


def beside_records(found: Listing) -> tuple[dict[str, Certificate], dict[str, StudyRecord], list[str]]:
    """Return certificates by router, studies by name, the first place's before others', and a line for what is none."""
    certificates, studies, problems = dict[str, Certificate](), dict[str, StudyRecord](), list[str]()
    for file in found.certificates + found.studies:
        try:
            if file in found.certificates:
                certificate = beside(file, Certificate)
                if certificate.router.rpartition(":")[2] != file.stem:
                    raise UserError(f"of {certificate.router}; allowed: a file by the name of its router")
                if certificates.setdefault(certificate.router, certificate) != certificate:
                    raise UserError(f"another certificate of {certificate.router} comes before it")
            else:
                study = beside(file, StudyRecord)
                studies.setdefault(study.name, study)
        except UserError as error:
            problems.append(f"{file.where}: {error}")
    return certificates, studies, problems
