"""Records -> pages: read what is new, compare what changed, write what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moesuite.leaderboard.ingest.selection import Known, Selection, selected
from moesuite.leaderboard.ingest.store import File, listing
from moesuite.leaderboard.site.output_folder import INDEX, Site, generator
from moesuite.leaderboard.site.pages import run_name, shared_pages
from moesuite.leaderboard.site.reading import (
    Fresh,
    Progress,
    beside_records,
    examined,
    examined_again,
    read_records,
    unique,
)
from moesuite.leaderboard.site.study_page import study_pages
from moesuite.leaderboard.site.task_boards import task_boards

NOTHING: Known = {"files": {}, "tasks": {}, "outputs": {}, "runs": []}  # known before a first build


@dataclass(frozen=True)
class Built:
    """What a build did.

    Attributes:
        shown: number of runs that are shown.
        read: number of files that were read for it.
        problems: a line for each file that is left out.
    """

    shown: int
    read: int
    problems: list[str]


def check(places: Sequence[str], progress: Progress | None = None) -> Built:
    """Read all records without writing anything.

    Args:
        places: folders or addresses of records.
        progress: called with (files read, files to read).

    Raises:
        UserError: for a place that cannot be read.
    """
    records = read_records(places, progress)
    return Built(len(records.selection.shown), len(records.fresh.known), records.problems)


def build(places: Sequence[str], out: Path, progress: Progress | None = None) -> Built:
    """Build the pages; after a first build, only what changed is read and written.

    Args:
        places: folders or addresses of records.
        out: folder of the pages.
        progress: called with (files read, files to read).

    Raises:
        UserError: for a place that cannot be read, or a folder that cannot be written or that no
            build has written.
    """
    files, site = listing(places), Site(out)
    before = _known_before(site)
    # until this build has ended, the next one must begin from nothing
    stems = {file.stem for file in files.records} | set(before["runs"])
    site.keep(INDEX, {"outputs": before["outputs"], "runs": sorted(stems)})

    known, fresh = _read_new(files.records, before["files"], site, progress)
    selection = selected(files.records, known)
    _complete(files.records, selection, before["files"], known, fresh, site)
    runs = {known[where]["id"] for where in selection.shown}
    certificates, studies, broken = beside_records(files)
    problems = selection.problems + broken

    counted = {where: known[where] for where in selection.counted}
    tasks = task_boards(site, before, counted, fresh, certificates)
    outputs = tasks.outputs
    outputs[""] = shared_pages(site, tasks.boards, certificates, studies, problems, tasks.routers)
    outputs["studies"] = study_pages(site, studies, runs)
    _remove_outdated(site, before["outputs"], outputs, stems - runs)
    site.keep(
        INDEX,
        {
            "generator": generator(),
            "files": _files_to_keep(known, selection),
            "runs": sorted(runs),
            "marks": tasks.marks,
            "tasks": tasks.stamps,
            "outputs": outputs,
        },
    )
    return Built(len(selection.shown), len(fresh.known), problems)


def _known_before(site: Site) -> Known:
    """Return what the build before knew; of another version only which files it wrote."""
    before: Known = NOTHING | (site.known(INDEX) or {})
    if before.get("generator") != generator():
        before |= {"files": {}, "tasks": {}}
    return before


def _read_new(
    files: list[File], old: Mapping[str, Known], site: Site, progress: Progress | None
) -> tuple[dict[str, Known], Fresh]:
    """Return what is known of all files, and what was read for it: new and changed ones."""
    new = [
        file
        for file in files
        if not file.stamp or file.stamp != old.get(file.where, {}).get("stamp")
    ]
    fresh = examined(new, site, unique(files), progress)
    known: dict[str, Known] = {}
    for file in files:
        about = fresh.known.get(file.where) or old[file.where]
        known[file.where] = {key: value for key, value in about.items() if key != "page"}
    return known, fresh


def _complete(
    files: list[File],
    selection: Selection,
    old: Mapping[str, Known],
    known: dict[str, Known],
    fresh: Fresh,
    site: Site,
) -> None:
    """Read again what counts now but not before, and what needs another page.

    The page of a run shows its reproductions, so it changes with them.
    """
    by_place = {file.where: file for file in files}
    for where in selection.counted:
        others = selection.shown.get(where)
        page = None if others is None else [known[other]["content"] for other in others]
        if where in fresh.known:
            is_complete = page is None or (where in fresh.pages and not page)
        else:
            was_counted = old[where].get("counted", False)
            is_complete = was_counted and page in (None, old[where].get("page"))
        if is_complete:
            continue
        if others is None:
            fresh.take(examined([by_place[where]], None))
        else:
            fresh.take(examined_again(by_place[where], [by_place[other] for other in others], site))
        known[where] = fresh.known[where]


def _files_to_keep(known: Mapping[str, Known], selection: Selection) -> dict[str, Known]:
    """Return what the next build needs to know of each file.

    `page`: contents of the reproductions that the page of a run shows.
    """
    counted = set(selection.counted)
    files = {where: {**about, "counted": where in counted} for where, about in known.items()}
    for where, others in selection.shown.items():
        files[where]["page"] = [known[other]["content"] for other in others]
    return files


def _remove_outdated(
    site: Site,
    before: Mapping[str, list[str]],
    after: Mapping[str, list[str]],
    runs: set[str],
) -> None:
    """Remove files that are no longer written, and the pages of runs that are not shown."""
    gone = {name for names in before.values() for name in names}
    gone -= {name for names in after.values() for name in names}
    site.remove(sorted(gone | {run_name(run) for run in runs}))
