"""Benchmarks of records, without pages: what other commands read of the board."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moesuite.leaderboard.ingest.entry import Entry
from moesuite.leaderboard.ingest.facts import Facts
from moesuite.leaderboard.ingest.selection import merged
from moesuite.leaderboard.ranking.board import Board, boards
from moesuite.leaderboard.site.reading import Progress, read_records


@dataclass(frozen=True)
class Benchmarks:
    """The benchmarks of some records.

    Attributes:
        boards: in order of their tasks.
        entries: runs that were compared, by contestant.
        facts: options of settings and of contestants by hash.
        problems: a line for each file that is left out.
    """

    boards: list[Board]
    entries: Mapping[str, list[Entry]]
    facts: Mapping[str, Facts]
    problems: list[str]


def benchmarks(places: Sequence[str], progress: Progress | None = None) -> Benchmarks:
    """Read records and compare them, as the pages do; nothing is written.

    Args:
        places: folders or addresses of records.
        progress: called with (files read, files to read).

    Raises:
        UserError: for a place that cannot be read.
    """
    records = read_records(places, progress)
    by_task = defaultdict[str, list[Entry]](list)
    for where in records.selection.counted:
        entry = Entry.model_validate_json(records.fresh.entries[where])
        by_task[entry.task].append(entry)
    facts, compared = records.fresh.facts, list[Board]()
    by_contestant = defaultdict[str, list[Entry]](list)
    for task in sorted(by_task):
        entries = merged(by_task[task])
        for entry in entries:
            by_contestant[entry.contestant].append(entry)
        compared += boards(entries, facts, records.certificates)
    return Benchmarks(compared, by_contestant, facts, records.problems)
