"""Which of the files that can be shown are: copies count once, a run that was made again is a reproduction."""

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

Known = dict[
    str, Any
]  # of a file: its stamp, and a problem, or id, content, task and what selection goes by
EQUAL = 1e-6  # of two qualities, relative: one run on two machines differs by rounding


@dataclass
class Selection:
    """What is shown.

    Attributes:
        shown: file of each run: the first that was made -> files of its reproductions, in the order
            they were made.
        problems: a line for every file that is left out.
    """

    shown: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def counted(self) -> list[str]:
        """Files of all runs, reproductions among them."""
        return [where for first, others in self.shown.items() for where in (first, *others)]


def selected(files: Sequence[File], known: Mapping[str, Known]) -> Selection:
    """Select each run once; of files of one id, those with the quality of the first one are its reproductions."""
    by_id, selection = defaultdict[str, list[str]](list), Selection()
    for file in files:
        one = known[file.where]
        if "problem" in one:
            selection.problems.append(f"{file.where}: {one['problem']}")
        else:
            by_id[one["id"]].append(file.where)
            selection.problems += one["aside"]
    for places in by_id.values():
        _add(places, known, selection)
    claims = {where: known[where]["claims"] for where in selection.shown}
    for where, problem in contradictions(claims):
        if selection.shown.pop(where, None) is not None:
            selection.problems.append(f"{where}: {problem}")
    return selection


def _add(places: Sequence[str], known: Mapping[str, Known], selection: Selection) -> None:
    """Select one of the files of an id; finished runs come first, then those that were made first."""
    if len(places) == 1:
        selection.shown[places[0]] = []
        return
    order = {where: index for index, where in enumerate(places)}
    ranked = sorted(
        places, key=lambda w: (known[w]["status"] != "ok", _when(known[w]["created"]), order[w])
    )
    runs = list[str]()
    for where in ranked:
        if not any(_copies(where, other, known) for other in runs):
            runs.append(where)
    first, reproductions = runs[0], list[str]()
    for where in runs[1:]:
        if difference := _difference(known[where], known[first]):
            line = f"{where}: of {known[where]['created']}, the same id as {first} of {known[first]['created']}"
            selection.problems.append(f"{line}, but {difference}")
        else:
            reproductions.append(where)
    selection.shown[first] = reproductions


def _when(created: str) -> float:
    return datetime.datetime.fromisoformat(created).timestamp()


def _copies(where: str, other: str, known: Mapping[str, Known]) -> bool:
    one, two = known[where], known[other]
    return one["content"] == two["content"] or (
        one["created"] == two["created"] and same_content(where, other)
    )


def _difference(one: Known, first: Known) -> str:
    """Return by what a run's result differs from that of the first one; empty: by nothing."""
    if one["status"] != first["status"]:
        return f"{one['status']}, there {first['status']}"
    for name in sorted(one["quality"].keys() | first["quality"].keys()):
        here, there = one["quality"].get(name), first["quality"].get(name)
        if (
            here is None
            or there is None
            or not math.isclose(here, there, rel_tol=EQUAL, abs_tol=EQUAL)
        ):
            return f"{name} {here}, there {there}"
    return ""


def merged(entries: Sequence[Entry]) -> list[Entry]:
    """Return one entry of each run; its times are medians over its reproductions on the same machine."""
    by_id = defaultdict[str, list[Entry]](list)
    for entry in entries:
        by_id[entry.id].append(entry)
    return [_merged(runs) if len(runs) > 1 else runs[0] for runs in by_id.values()]


def _merged(runs: Sequence[Entry]) -> Entry:
    first = min(runs, key=lambda run: _when(run.created))
    alike = [run for run in runs if run.hardware == first.hardware]
    durations = {
        column.name: _median([run.figures[column.name] for run in alike])
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
