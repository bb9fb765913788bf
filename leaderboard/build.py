"""Records -> pages: reads what is new, compares what changed, writes what differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from moesuite.artifacts import Certificate
from moesuite.errors import UserError
from moesuite.leaderboard.board import Board, boards, slug
from moesuite.leaderboard.entry import Entry, digest, entry_of
from moesuite.leaderboard.intake import certificate, content_digest, take
from moesuite.leaderboard.pages import run_name, run_page, shared_pages, task_pages
from moesuite.leaderboard.site import INDEX, Site, generator
from moesuite.leaderboard.store import File, Listing, listing

MANY, CHUNK, WORKERS = 200, 100, 2  # files from which on processes pay; files that one takes at once; processes
Known = dict[str, Any]  # of a file: its stamp, and a problem, or id, content, task; fresh from a reading: entry, facts
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Built:
    """What a build did: runs that are shown, files that were read for it, and a line for each that is left out."""

    shown: int
    read: int
    problems: list[str]


def check(places: Sequence[str], progress: Progress | None = None) -> Built:
    """Read all records without writing anything. Raises `UserError` for a place that cannot be read."""
    found = listing(places)
    known = _examined(found.records, None, progress)
    shown, problems = selected(found.records, known)
    return Built(len(shown), len(known), problems + certified(found)[1])


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
    fresh = _examined(
        [f for f in found.records if not f.stamp or f.stamp != old.get(f.where, {}).get("stamp")], site, progress
    )
    known = {file.where: fresh.get(file.where) or old[file.where] for file in found.records}
    shown, problems = selected(found.records, known)
    runs = sorted(known[where]["id"] for where in shown)
    # what a contradiction had hidden is shown again, though its file is as it was
    back = set(runs) - set(before["runs"])
    _examined([f for f in found.records if f.where not in fresh and known[f.where].get("id") in back], site)
    certificates, broken = certified(found)
    made, after = _boards(site, before, known, shown, fresh, certificates)
    after["outputs"][""] = shared_pages(site, made, certificates, problems + broken)
    _forget(site, before, after["outputs"], runs)
    files = {where: {key: one[key] for key in one if key not in ("entry", "facts")} for where, one in known.items()}
    site.keep(INDEX, {"generator": generator(), "files": files, "runs": runs, **after})
    return Built(len(shown), len(fresh), problems + broken)


def _examined(files: list[File], site: Site | None, progress: Progress | None = None) -> dict[str, Known]:
    """Read files, many of them by several processes."""
    found: dict[str, Known] = {}
    parts = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    if len(files) < MANY:
        results: Iterable[list[Known]] = map(partial(_examine_all, site=site), parts)
    else:
        pool = ProcessPoolExecutor(WORKERS)
        results = pool.map(partial(_examine_all, site=site), parts)
    for part, result in zip(parts, results, strict=True):
        found |= {file.where: one for file, one in zip(part, result, strict=True)}
        if progress:
            progress(len(found), len(files))
    return found


def _examine_all(files: list[File], site: Site | None) -> list[Known]:
    return [examine(file, site) for file in files]


def examine(file: File, site: Site | None) -> Known:
    """Read one record, and write the page of its run."""
    try:
        record, text = take(file)
    except UserError as error:
        return {"stamp": file.stamp, "problem": str(error)}
    entry, facts = entry_of(record, file.where)
    if site is not None:
        site.write(run_name(record.id), run_page(record, text, file.routing))
    known = {"id": record.id, "content": content_digest(record), "task": slug(record.task)}
    return {"stamp": file.stamp, **known, "entry": entry.model_dump(), "facts": facts}


def selected(files: Sequence[File], known: dict[str, Known]) -> tuple[list[str], list[str]]:
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
    shown = []
    for first, *others in by_id.values():
        same = [known[where]["content"] == known[first]["content"] for where in others]
        how = {True: "the same record", False: "the same id with other content"}
        problems += [f"{where}: {how[equal]} as {first}" for where, equal in zip(others, same, strict=True)]
        if all(same):
            shown.append(first)
        else:
            problems.append(f"{first}: the same id with other content as {others[same.index(False)]}")
    return shown, problems


def certified(found: Listing) -> tuple[dict[str, Certificate], list[str]]:
    """Return the certificates by router, the first place's before others', and a line for what is none."""
    certificates: dict[str, Certificate] = {}
    problems = []
    for file in found.certificates:
        try:
            one = certificate(file)
            certificates.setdefault(one.router, one)
        except UserError as error:
            problems.append(f"{file.where}: {error}")
    return certificates, problems


def _boards(
    site: Site,
    before: Known,
    known: dict[str, Known],
    shown: Sequence[str],
    fresh: dict[str, Known],
    certificates: dict[str, Certificate],
) -> tuple[list[Board], Known]:
    """Return the benchmarks of all tasks, and what is to be known of them; those that changed are compared anew."""
    marks = digest({router: one.model_dump() for router, one in certificates.items()})
    tasks, made = defaultdict[str, list[str]](list), list[Board]()
    for where in shown:
        tasks[known[where]["task"]].append(where)
    after: Known = {"tasks": {}, "outputs": {}}
    for task, own in sorted(tasks.items()):
        stamp = digest([marks, sorted((where, known[where]["content"]) for where in own)])
        kept = site.known(f"boards/{task}.json") if before["tasks"].get(task) == stamp else None
        if kept is not None:
            made += [Board.model_validate(board) for board in kept]
            after["outputs"][task] = before["outputs"][task]
        else:
            new = _compared(site, task, own, fresh, certificates)
            made += new
            after["outputs"][task] = task_pages(site, new)
        after["tasks"][task] = stamp
    return made, after


def _compared(
    site: Site, task: str, own: Sequence[str], fresh: dict[str, Known], certificates: dict[str, Certificate]
) -> list[Board]:
    """Compare the runs of one task, those that were read now and those that were read before."""
    kept = site.known(f"entries/{task}.json") or {"entries": {}, "facts": {}}
    entries, facts = kept["entries"], kept["facts"]
    for where, one in fresh.items():
        if one.get("task") == task:
            entries[where] = one["entry"]
            facts |= one["facts"]
    found = [Entry.model_validate(entries[where]) for where in own]
    used = {key for entry in found for key in (entry.setting, entry.contestant)}
    site.keep(f"entries/{task}.json", {"entries": entries, "facts": facts})
    made = boards(found, {key: facts[key] for key in used}, certificates)
    site.keep(f"boards/{task}.json", [board.model_dump(mode="json") for board in made])
    return made


def _forget(site: Site, before: Known, outputs: dict[str, list[str]], runs: Sequence[str]) -> None:
    """Remove the pages of what is no longer there."""
    gone = {name for names in before["outputs"].values() for name in names}
    gone -= {name for names in outputs.values() for name in names}
    site.remove(sorted(gone | {run_name(run) for run in set(before["runs"]) - set(runs)}))
