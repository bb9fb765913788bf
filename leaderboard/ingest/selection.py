"""Which valid records count: copies once, and reruns with the same result as reproductions."""

from __future__ import annotations

import datetime
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from moesuite.leaderboard import columns
from moesuite.leaderboard.columns.column import Value, short
from moesuite.leaderboard.ingest.agreement import contradictions
from moesuite.leaderboard.ingest.entry import Entry
from moesuite.leaderboard.ingest.intake import same_content
from moesuite.leaderboard.ingest.store import File

# of a file: its stamp, and either a problem or id, content, task and what selection needs
Known = dict[str, Any]
# relative tolerance of two equal qualities: the same run on two machines differs by rounding
EQUAL = 1e-6


@dataclass
class Selection:
    """What is shown.

    Attributes:
        shown: file of each run, the first by time -> files of its reproductions, by time.
        problems: a line for every file that is left out.
    """

    shown: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def counted(self) -> list[str]:
        """Files of all runs, reproductions among them."""
        return [where for first, others in self.shown.items() for where in (first, *others)]


def selected(files: Sequence[File], known: Mapping[str, Known]) -> Selection:
    """Select each run once.

    Of several files with one id, those with the quality of the first are its reproductions.
    """
    by_id = defaultdict[str, list[str]](list)
    selection = Selection()
    for file in files:
        about = known[file.where]
        if "problem" in about:
            selection.problems.append(f"{file.where}: {about['problem']}")
        else:
            by_id[about["id"]].append(file.where)
            selection.problems += about["aside"]
    for places in by_id.values():
        _add(places, known, selection)
    claims = {where: known[where]["claims"] for where in selection.shown}
    for where, problem in contradictions(claims):
        if selection.shown.pop(where, None) is not None:
            selection.problems.append(f"{where}: {problem}")
    return selection


def _add(places: Sequence[str], known: Mapping[str, Known], selection: Selection) -> None:
    """Select one of the files of an id: the first finished one, or else the first."""
    if len(places) == 1:
        selection.shown[places[0]] = []
        return
    order = {where: index for index, where in enumerate(places)}

    def rank(where: str) -> tuple[bool, float, int]:
        return known[where]["status"] != "ok", _when(known[where]["created"]), order[where]

    runs = list[str]()
    for where in sorted(places, key=rank):
        if not any(_is_copy(where, other, known) for other in runs):
            runs.append(where)
    first, reproductions = runs[0], list[str]()
    for where in runs[1:]:
        if difference := _difference(known[where], known[first]):
            run = f"{where}: of {known[where]['created']}"
            same = f"the same id as {first} of {known[first]['created']}"
            selection.problems.append(f"{run}, {same}, but {difference}")
        else:
            reproductions.append(where)
    selection.shown[first] = reproductions


def _when(created: str) -> float:
    return datetime.datetime.fromisoformat(created).timestamp()


def _is_copy(where: str, other: str, known: Mapping[str, Known]) -> bool:
    """Return whether two files hold the same record, however it is laid out."""
    left, right = known[where], known[other]
    if left["content"] == right["content"]:
        return True
    return left["created"] == right["created"] and same_content(where, other)


def _difference(run: Known, first: Known) -> str:
    """Return how the result of a run differs from that of the first one, or ""."""
    if run["status"] != first["status"]:
        return f"{run['status']}, there {first['status']}"
    for name in sorted(run["quality"].keys() | first["quality"].keys()):
        here, there = run["quality"].get(name), first["quality"].get(name)
        if here is None or there is None or not _is_equal(here, there):
            return f"{name} {here}, there {there}"
    return ""


def _is_equal(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=EQUAL, abs_tol=EQUAL)


def merged(entries: Sequence[Entry]) -> list[Entry]:
    """Return one entry of each run; durations are medians over reproductions on one machine."""
    by_id = defaultdict[str, list[Entry]](list)
    for entry in entries:
        by_id[entry.id].append(entry)
    return [_merged(runs) if len(runs) > 1 else runs[0] for runs in by_id.values()]


def _merged(runs: Sequence[Entry]) -> Entry:
    first = min(runs, key=lambda run: _when(run.created))
    same_machine = [run for run in runs if run.hardware == first.hardware]
    durations = {
        column.name: _median([run.figures[column.name] for run in same_machine])
        for column in columns.figures()
        if column.duration
    }
    changes = {
        "figures": first.figures | durations,
        "reproductions": len(runs),
        "verified": sum(run.verified for run in runs),
        "refuted": sum(run.refuted for run in runs),
    }
    return first.model_copy(update=changes)


def _median(values: Sequence[Value]) -> Value:
    measured = [value for value in values if value is not None]
    return short(median(measured)) if measured else None
