"""Runs -> benchmarks and their pages, by task; only tasks whose runs changed are compared anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from moesuite.leaderboard.ingest.entry import Entry
from moesuite.leaderboard.ingest.facts import Facts, digest
from moesuite.leaderboard.ingest.selection import Known, merged
from moesuite.leaderboard.ranking.board import Board, boards
from moesuite.leaderboard.ranking.overview import representatives
from moesuite.leaderboard.site.output_folder import KEPT, Site
from moesuite.leaderboard.site.pages import task_pages
from moesuite.leaderboard.site.reading import MANY, WORKERS, Fresh
from moesuite.records.certificate import Certificates

BOARDS = f"{KEPT}/boards/{{task}}.json"
ADAPTER = TypeAdapter(list[Board])


@dataclass(frozen=True)
class TaskBoards:
    """The benchmarks of all tasks.

    Attributes:
        boards: lean ones, in order of their tasks; see `lean`.
        marks: hash of the certificates.
        stamps: hash of all that a task's benchmarks follow from, by task.
        outputs: names of the files that were written, by task.
        routers: those whose own page changed; None for all.
    """

    boards: list[Board]
    marks: str
    stamps: dict[str, str]
    outputs: dict[str, list[str]]
    routers: set[str] | None


def task_boards(
    site: Site,
    before: Known,
    runs: Mapping[str, Known],
    fresh: Fresh,
    certificates: Certificates,
) -> TaskBoards:
    """Compare the runs of each task that changed, and write its pages.

    Args:
        site: to write to.
        before: what the build before knew.
        runs: what is known of each file that counts.
        fresh: what was read for this build.
        certificates: by router.
    """
    marks = digest({router: [c.model_dump() for c in of] for router, of in certificates.items()})
    places = defaultdict[str, list[str]](list)
    for where, run in runs.items():
        places[run["task"]].append(where)
    stamps = {task: _stamp(marks, {w: runs[w] for w in places[task]}) for task in places}
    by_task = {task: _read_boards(site, task) for task in sorted(places)}
    changed = [
        task
        for task, known in by_task.items()
        if not known or before["tasks"].get(task) != stamps[task]
    ]
    outputs = {task: before["outputs"][task] for task in by_task if task not in changed}
    jobs = [
        _Job(task, {where: fresh.entries.get(where) for where in places[task]}, fresh.facts)
        for task in changed
    ]
    routers = set[str]()
    results = _each(partial(_compare, site, certificates), jobs)
    for task, (boards_of_task, names) in zip(changed, results, strict=True):
        routers |= changed_routers(by_task[task], boards_of_task)
        by_task[task], outputs[task] = boards_of_task, names
    is_same = before["tasks"].keys() == stamps.keys() and before.get("marks") == marks
    return TaskBoards(
        boards=[board for of_task in by_task.values() for board in of_task],
        marks=marks,
        stamps=stamps,
        outputs=outputs,
        routers=routers if is_same else None,
    )


def _stamp(marks: str, runs: Mapping[str, Known]) -> str:
    contents = sorted((where, run["content"], run["verified"]) for where, run in runs.items())
    return digest([marks, contents])


@dataclass(frozen=True)
class _Job:
    """A task to compare anew.

    Attributes:
        task: slug.
        entries: by file; None for those that an earlier build read.
        facts: settings and contestants by hash.
    """

    task: str
    entries: dict[str, str | None]
    facts: dict[str, Facts]


Compared = tuple[list[Board], list[str]]  # lean benchmarks, and names of files


def _each(function: Callable[[_Job], Compared], jobs: list[_Job]) -> Iterable[Compared]:
    """Call a function for each job, in several processes where that is faster."""
    if len(jobs) < 2 or sum(len(job.entries) for job in jobs) < MANY:
        return map(function, jobs)
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(WORKERS).map(function, jobs)


def _compare(site: Site, certificates: Certificates, job: _Job) -> Compared:
    """Compare the runs of one task, read now or by an earlier build, and write its pages."""
    name = f"entries/{job.task}.json"
    is_complete = None not in job.entries.values()
    earlier = {"entries": {}, "facts": {}} if is_complete else site.known(name)
    texts = {where: text or earlier["entries"][where] for where, text in job.entries.items()}
    entries = merged([Entry.model_validate_json(text) for text in texts.values()])
    facts = earlier["facts"] | job.facts
    used = {key: facts[key] for entry in entries for key in (entry.setting, entry.contestant)}
    site.keep(name, {"entries": texts, "facts": used})
    whole = boards(entries, used, certificates)
    names, slim = task_pages(site, whole), [lean(board) for board in whole]
    site.write(BOARDS.format(task=job.task), ADAPTER.dump_json(slim).decode())
    return slim, names


def _read_boards(site: Site, task: str) -> list[Board]:
    """Return the benchmarks of a task as the build before left them; none of another version."""
    try:
        return ADAPTER.validate_json((site.out / BOARDS.format(task=task)).read_bytes())
    except (OSError, ValueError):
        return []


def lean(board: Board) -> Board:
    """Return a benchmark as other pages need it.

    That is without curves, and with routing health of the rows only that represent their router.
    """
    chosen = _representatives(board)
    rows = [
        row.model_copy(update={"curve": [], "health": row.health if row.key in chosen else []})
        for row in board.rows
    ]
    return board.model_copy(update={"rows": rows})


def _representatives(board: Board) -> set[str]:
    return set() if board.other else {row.key for row in representatives(board)}


def changed_routers(before: Sequence[Board], after: Sequence[Board]) -> set[str]:
    """Return the routers whose own page shows two versions of a task's benchmarks differently."""
    old, new = dict(_shown(before)), dict(_shown(after))
    return {(old | new)[key] for key in old.keys() ^ new.keys()}


def _shown(versions: Sequence[Board]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield what the page of a router shows of each row and failed run, and the router."""
    for board in versions:
        chosen = _representatives(board)
        for row in board.rows:
            about = board.settings[row.setting], board.metric, row.key in chosen
            yield (board.slug, *about, row.model_dump_json()), row.router
        for failed in board.failed:
            yield (board.slug, *failed), failed[1]
