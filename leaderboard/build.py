"""Records -> pages: reads what is new, compares what changed, writes what differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from moesuite.artifacts import Certificate
from moesuite.leaderboard.board import Board, boards
from moesuite.leaderboard.entry import Entry, digest
from moesuite.leaderboard.overview import representatives
from moesuite.leaderboard.pages import run_name, shared_pages, study_pages, task_pages
from moesuite.leaderboard.reading import Fresh, Known, Progress, beside_records, examined, selected
from moesuite.leaderboard.site import INDEX, KEPT, Site, generator
from moesuite.leaderboard.store import listing

BOARDS = f"{KEPT}/boards/{{task}}.json"
ADAPTER = TypeAdapter(list[Board])


@dataclass(frozen=True)
class Built:
    """What a build did: runs that are shown, files that were read for it, and a line for each that is left out."""

    shown: int
    read: int
    problems: list[str]


def check(places: Sequence[str], progress: Progress | None = None) -> Built:
    """Read all records without writing anything. Raises `UserError` for a place that cannot be read."""
    found = listing(places)
    known = examined(found.records, None, progress).known
    shown, problems = selected(found.records, known)
    return Built(len(shown), len(known), problems + beside_records(found)[2])


def build(places: Sequence[str], out: Path, progress: Progress | None = None) -> Built:
    """Build the pages: after a first time, only what changed is read and written.

    Args:
        places: folders or addresses of records.
        out: folder of the pages.
        progress: called with (files read, files to read).

    Raises:
        UserError: for a place that cannot be read, or a folder that cannot be written or is not ours.
    """
    found, site = listing(places), Site(out)
    before: Known = {"files": {}, "tasks": {}, "outputs": {}, "runs": []} | (site.known(INDEX) or {})
    if before.get("generator") != generator():
        before |= {"files": {}, "tasks": {}}
    old: dict[str, Known] = before["files"]
    new = [file for file in found.records if not file.stamp or file.stamp != old.get(file.where, {}).get("stamp")]
    fresh = examined(new, site, progress)
    known = {file.where: fresh.known.get(file.where) or old[file.where] for file in found.records}
    shown, problems = selected(found.records, known)
    runs = {known[where]["id"] for where in shown}
    # what a contradiction had hidden is shown again, though its file is as it was
    back = runs - set(before["runs"])
    fresh.take(examined([f for f in found.records if f.where in old and known[f.where].get("id") in back], site))
    certificates, studies, broken = beside_records(found)
    made, after = _boards(site, before, {where: known[where] for where in shown}, fresh, certificates)
    same = before["tasks"].keys() == after["tasks"].keys() and before.get("marks") == after["marks"]
    changed = after.pop("routers")
    problems += broken
    after["outputs"][""] = shared_pages(site, made, certificates, studies, problems, changed if same else None)
    after["outputs"]["studies"] = study_pages(site, studies, runs)
    gone = {one["id"] for one in known.values() if "id" in one} | set(before["runs"])
    _forget(site, before, after["outputs"], gone - runs)
    site.keep(INDEX, {"generator": generator(), "files": known, "runs": sorted(runs), **after})
    return Built(len(shown), len(fresh.known), problems)


def _boards(
    site: Site, before: Known, shown: dict[str, Known], fresh: Fresh, certificates: dict[str, Certificate]
) -> tuple[list[Board], Known]:
    """Return the benchmarks of all tasks, and what is to be known of them; those that changed are compared anew."""
    marks = digest({router: one.model_dump() for router, one in certificates.items()})
    tasks, made = defaultdict[str, list[str]](list), list[Board]()
    for where, one in shown.items():
        tasks[one["task"]].append(where)
    after: Known = {"marks": marks, "tasks": {}, "outputs": {}, "routers": set()}
    for task, own in sorted(tasks.items()):
        stamp = digest([marks, sorted((where, shown[where]["content"]) for where in own)])
        kept = _kept(site, task)
        if kept and before["tasks"].get(task) == stamp:
            made += kept
            after["outputs"][task] = before["outputs"][task]
        else:
            whole = _compared(site, task, own, fresh, certificates)
            after["outputs"][task] = task_pages(site, whole)
            new = [lean(board) for board in whole]
            site.write(BOARDS.format(task=task), ADAPTER.dump_json(new).decode())
            made += new
            after["routers"] |= changed_routers(kept, new)
        after["tasks"][task] = stamp
    return made, after


def changed_routers(before: Sequence[Board], after: Sequence[Board]) -> set[str]:
    """Return the routers whose own page two versions of a task's benchmarks show differently."""
    old, new = ({key: router for board in made for key, router in _shown(board)} for made in (before, after))
    failed = [{(board.slug, *one): one[1] for board in made for one in board.failed} for made in (before, after)]
    found = {(old | new)[key] for key in old.keys() ^ new.keys()}
    return found | {(failed[0] | failed[1])[key] for key in failed[0].keys() ^ failed[1].keys()}


def _shown(board: Board) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield what a router's page shows of each row, and the router."""
    chosen = {row.key for row in representatives(board)} if not board.other else set()
    for row in board.rows:
        own = row.key in chosen, row.model_dump_json()
        yield (board.slug, board.settings[row.setting][0], board.metric, *own), row.router


def _compared(
    site: Site, task: str, own: Sequence[str], fresh: Fresh, certificates: dict[str, Certificate]
) -> list[Board]:
    """Compare the runs of one task, those that were read now and those that were read before."""
    kept = site.known(f"entries/{task}.json") or {"entries": {}, "facts": {}}
    entries = {where: fresh.entries.get(where) or kept["entries"][where] for where in own}
    found = [Entry.model_validate_json(entry) for entry in entries.values()]
    facts = kept["facts"] | fresh.facts
    used = {key: facts[key] for entry in found for key in (entry.setting, entry.contestant)}
    site.keep(f"entries/{task}.json", {"entries": entries, "facts": used})
    return boards(found, used, certificates)


def _kept(site: Site, task: str) -> list[Board]:
    """Return the benchmarks of a task as the build before left them."""
    try:
        return ADAPTER.validate_json((site.out / BOARDS.format(task=task)).read_bytes())
    except (OSError, ValueError):
        return []


def lean(board: Board) -> Board:
    """Return a benchmark as other pages need it: no curves, and health of those only that stand for their router."""
    chosen = {row.key for row in representatives(board)} if not board.other else set()
    rows = [row.model_copy(update={"curve": [], "health": row.health * (row.key in chosen)}) for row in board.rows]
    return board.model_copy(update={"rows": rows})


def _forget(site: Site, before: Known, outputs: dict[str, list[str]], runs: set[str]) -> None:
    """Remove files that are made no longer, and the pages of runs that are not shown."""
    gone = {name for names in before["outputs"].values() for name in names}
    gone -= {name for names in outputs.values() for name in names}
    site.remove(sorted(gone | {run_name(run) for run in runs}))
