"""Records -> pages: reads what is new, compares what changed, writes what differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from moesuite.leaderboard.ingest.entry import Entry
from moesuite.leaderboard.ingest.facts import Facts, digest
from moesuite.leaderboard.ingest.selection import Known, Selection, merged, selected
from moesuite.leaderboard.ingest.store import File, listing
from moesuite.leaderboard.ranking.board import Board, boards
from moesuite.leaderboard.ranking.overview import representatives
from moesuite.leaderboard.site.output_folder import INDEX, KEPT, Site, generator
from moesuite.leaderboard.site.pages import run_name, shared_pages, task_pages
from moesuite.leaderboard.site.reading import (
    MANY,
    WORKERS,
    Fresh,
    Progress,
    alone,
    beside_records,
    examined,
    examined_again,
)
from moesuite.leaderboard.site.study_page import study_pages
from moesuite.records.certificate import Certificates

BOARDS = f"{KEPT}/boards/{{task}}.json"
ADAPTER = TypeAdapter(list[Board])
Result = TypeVar("Result")


@dataclass(frozen=True)
class Built:
    """What a build did: runs that are shown, files that were read for it, and a line for each that is left out."""

    shown: int
    read: int
    problems: list[str]


def check(places: Sequence[str], progress: Progress | None = None) -> Built:
    """Read all records without writing anything. Raises `UserError` for a place that cannot be read."""
    found = listing(places)
    known = examined(found.records, None, progress=progress).known
    selection = selected(found.records, known)
    return Built(len(selection.shown), len(known), selection.problems + beside_records(found)[2])


def build(places: Sequence[str], out: Path, progress: Progress | None = None) -> Built:
    """Build the pages: after a first time, only what changed is read and written.

    Args:
        places: folders or addresses of records.
        out: folder of the pages.
        progress: called with (files read, files to read).

    Raises:
        UserError: for a place that cannot be read, or a folder that cannot be written or is not
            ours.
    """
    found, site = listing(places), Site(out)
    before: Known = {"files": {}, "tasks": {}, "outputs": {}, "runs": []} | (
        site.known(INDEX) or {}
    )
    if before.get("generator") != generator():
        before |= {"files": {}, "tasks": {}}
    # until this build has ended, the next one has to begin from nothing
    stems = {file.stem for file in found.records}
    site.keep(INDEX, {"outputs": before["outputs"], "runs": sorted(stems | set(before["runs"]))})
    known, fresh = _known(found.records, before["files"], site, progress)
    selection = selected(found.records, known)
    shown, problems = selection.shown, selection.problems
    _complete(found.records, selection, before["files"], known, fresh, site)
    runs = {known[where]["id"] for where in shown}
    certificates, studies, broken = beside_records(found)
    problems += broken
    made, after = _boards(
        site, before, {where: known[where] for where in selection.counted}, fresh, certificates
    )
    same = before["tasks"].keys() == after["tasks"].keys() and before.get("marks") == after["marks"]
    changed = after.pop("routers")
    after["outputs"][""] = shared_pages(
        site, made, certificates, studies, problems, changed if same else None
    )
    after["outputs"]["studies"] = study_pages(site, studies, runs)
    _forget(site, before, after["outputs"], (stems | set(before["runs"])) - runs)
    counted = set(selection.counted)
    files = {where: {**one, "counted": where in counted} for where, one in known.items()}
    for where, others in shown.items():
        files[where]["page"] = [known[other]["content"] for other in others]
    site.keep(INDEX, {"generator": generator(), "files": files, "runs": sorted(runs), **after})
    return Built(len(shown), len(fresh.known), problems)


def _known(
    files: list[File], old: dict[str, Known], site: Site, progress: Progress | None
) -> tuple[dict[str, Known], Fresh]:
    """Return what is known of all files, and what had to be read for it."""
    new = [
        file
        for file in files
        if not file.stamp or file.stamp != old.get(file.where, {}).get("stamp")
    ]
    fresh = examined(new, site, alone(files), progress)
    kept = {file.where: old[file.where] for file in files if file.where not in fresh.known}
    known = {
        where: {key: value for key, value in one.items() if key != "page"}
        for where, one in kept.items()
    }
    return {file.where: fresh.known.get(file.where) or known[file.where] for file in files}, fresh


def _complete(
    files: list[File],
    selection: Selection,
    old: dict[str, Known],
    known: dict[str, Known],
    fresh: Fresh,
    site: Site,
) -> None:
    """Read again what counts now and did not before, and whose page is not as it shall be, for its reproductions."""
    by_place = {file.where: file for file in files}
    for where in selection.counted:
        others = selection.shown.get(where)
        page = None if others is None else [known[other]["content"] for other in others]
        if where in fresh.known:
            complete = page is None or (where in fresh.pages and not page)
        else:
            complete = old[where].get("counted", False) and page in (None, old[where].get("page"))
        if not complete and others is None:
            fresh.take(examined([by_place[where]], None))
        elif not complete and others is not None:
            fresh.take(examined_again(by_place[where], [by_place[other] for other in others], site))
        known[where] = fresh.known.get(where, known[where])


def _boards(
    site: Site, before: Known, shown: dict[str, Known], fresh: Fresh, certificates: Certificates
) -> tuple[list[Board], Known]:
    """Return the benchmarks of all tasks, and what is to be known of them; those that changed are compared anew."""
    marks = digest(
        {
            router: [one.model_dump() for one in of_router]
            for router, of_router in certificates.items()
        }
    )
    tasks = defaultdict[str, list[str]](list)
    for where, one in shown.items():
        tasks[one["task"]].append(where)
    stamps = {
        task: digest(
            [
                marks,
                sorted((where, shown[where]["content"], shown[where]["verified"]) for where in own),
            ]
        )
        for task, own in tasks.items()
    }
    made = {task: _kept(site, task) for task in sorted(tasks)}
    changed = [task for task in made if not made[task] or before["tasks"].get(task) != stamps[task]]
    outputs = {task: before["outputs"][task] for task in made if task not in changed}
    jobs = [
        _Job(task, {where: fresh.entries.get(where) for where in tasks[task]}, fresh.facts)
        for task in changed
    ]
    routers = set[str]()
    for task, (new, names) in zip(
        changed, _each(partial(_compared, site, certificates), jobs), strict=True
    ):
        routers |= changed_routers(made[task], new)
        made[task], outputs[task] = new, names
    return list(chain.from_iterable(made.values())), {
        "marks": marks,
        "tasks": stamps,
        "outputs": outputs,
        "routers": routers,
    }


@dataclass(frozen=True)
class _Job:
    """A task to compare anew: its entries by file, None for those that were read before, and facts by hash."""

    task: str
    entries: dict[str, str | None]
    facts: dict[str, Facts]


def _each(function: Callable[[_Job], Result], jobs: list[_Job]) -> Iterable[Result]:
    """Call a function for each job, by several processes where these are worth it."""
    if len(jobs) < 2 or sum(len(job.entries) for job in jobs) < MANY:
        return map(function, jobs)
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(WORKERS).map(function, jobs)


def _compared(site: Site, certificates: Certificates, job: _Job) -> tuple[list[Board], list[str]]:
    """Compare the runs of one task, those that were read now and those that were read before, and write its pages."""
    kept = site.known(f"entries/{job.task}.json") or {"entries": {}, "facts": {}}
    entries = {where: entry or kept["entries"][where] for where, entry in job.entries.items()}
    found = merged([Entry.model_validate_json(entry) for entry in entries.values()])
    facts = kept["facts"] | job.facts
    used = {key: facts[key] for entry in found for key in (entry.setting, entry.contestant)}
    site.keep(f"entries/{job.task}.json", {"entries": entries, "facts": used})
    whole = boards(found, used, certificates)
    names, new = task_pages(site, whole), [lean(board) for board in whole]
    site.write(BOARDS.format(task=job.task), ADAPTER.dump_json(new).decode())
    return new, names


def changed_routers(before: Sequence[Board], after: Sequence[Board]) -> set[str]:
    """Return the routers whose own page two versions of a task's benchmarks show differently."""
    old, new = (
        {key: router for board in made for key, router in _shown(board)} for made in (before, after)
    )
    failed = [
        {(board.slug, *one): one[1] for board in made for one in board.failed}
        for made in (before, after)
    ]
    found = {(old | new)[key] for key in old.keys() ^ new.keys()}
    return found | {(failed[0] | failed[1])[key] for key in failed[0].keys() ^ failed[1].keys()}


def _shown(board: Board) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield what a router's page shows of each row, and the router."""
    chosen = {row.key for row in representatives(board)} if not board.other else set()
    for row in board.rows:
        own = row.key in chosen, row.model_dump_json()
        yield (board.slug, board.settings[row.setting], board.metric, *own), row.router


def _kept(site: Site, task: str) -> list[Board]:
    """Return the benchmarks of a task as the build before left them."""
    try:
        return ADAPTER.validate_json((site.out / BOARDS.format(task=task)).read_bytes())
    except (OSError, ValueError):
        return []


def lean(board: Board) -> Board:
    """Return a benchmark as other pages need it: no curves, and health of those only that stand for their router."""
    chosen = {row.key for row in representatives(board)} if not board.other else set()
    rows = [
        row.model_copy(update={"curve": [], "health": row.health * (row.key in chosen)})
        for row in board.rows
    ]
    return board.model_copy(update={"rows": rows})


def _forget(site: Site, before: Known, outputs: dict[str, list[str]], runs: set[str]) -> None:
    """Remove files that are made no longer, and the pages of runs that are not shown."""
    gone = {name for names in before["outputs"].values() for name in names}
    gone -= {name for names in outputs.values() for name in names}
    site.remove(sorted(gone | {run_name(run) for run in runs}))
