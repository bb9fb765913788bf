"""Entries -> the table of one benchmark: settings, contestants, comparisons. No formatting."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal

from moesuite.leaderboard.ingest.entry import Entry
from moesuite.leaderboard.ingest.facts import Facts, digest
from moesuite.leaderboard.ingest.versions import latest_of, on_page, outdated
from moesuite.leaderboard.ranking.comparisons import compare_rows
from moesuite.leaderboard.ranking.contestants import CONTROLS, Row, row_of
from moesuite.leaderboard.ranking.naming import setting_names
from moesuite.leaderboard.ranking.noise import Spread, noise_of
from moesuite.records.certificate import Certificates
from moesuite.records.compute import StrictModel

SECTIONS = ("Ranked in the main setting", "Controls", "Not ranked", "Other settings")


class Board(StrictModel):
    """One benchmark: a task on one version of its data, ranked by one metric.

    Attributes:
        slug: file name of the page.
        other: why this is not the task's main page, or "".
        protocol: newest versions of engine and task family among the runs, in words.
        causal: whether the task predicts later inputs, so that routers with lookahead do not apply.
        margin: largest difference of the metric that counts as none, or None.
        settings: names by key.
        main: key of the setting in which most routers are ranked.
        outdated: newer versions, in words, by key of the settings that are of older ones.
        rows: in the order of `SECTIONS`, then by setting and quality.
        noise: spread of the ratios of dense models to the dense model measured beside them, by
            machine and column.
        failed: (id, router, seed, status, reason) of runs without a result.
    """

    slug: str
    task: str
    family: str
    data_fingerprint: str
    data_description: str
    metric: str
    direction: Literal["max", "min"]
    causal: bool
    margin: float | None
    other: str = ""
    protocol: str = ""
    settings: dict[str, str]
    outdated: dict[str, str] = {}
    main: str
    rows: list[Row]
    noise: dict[str, dict[str, Spread]]
    failed: list[tuple[str, str, int, str, str]]

    def section(self, row: Row) -> str:
        """Return under which heading a row stands."""
        if row.router in CONTROLS:
            return SECTIONS[1]
        if row.setting != self.main:
            return SECTIONS[3]
        return SECTIONS[2] if row.unranked else SECTIONS[0]


def boards(
    entries: Iterable[Entry], facts: Mapping[str, Facts], certificates: Certificates
) -> list[Board]:
    """Return the benchmarks of one task, one for each data fingerprint and metric.

    Trials of a search are on its study's page only: the best of many trials is optimistically
    biased.

    Args:
        entries: of the task, in any order.
        facts: settings and contestants by hash.
        certificates: by router.
    """
    shown = [entry for entry in entries if entry.trial is None]
    ordered = sorted(
        shown,
        key=lambda e: (
            e.data_fingerprint,
            e.primary,
            e.router,
            e.contestant,
            e.seed,
            e.created,
            e.id,
        ),
    )
    parts = {
        key: list(group)
        for key, group in groupby(ordered, key=lambda e: (e.data_fingerprint, e.primary))
    }
    finished = {key: sum(entry.status == "ok" for entry in parts[key]) for key in parts}
    main = min(parts, key=lambda key: (-finished[key], key), default=None)
    return [
        _board(entries, facts, certificates, is_main=key == main) for key, entries in parts.items()
    ]


def _board(
    entries: Sequence[Entry], facts: Mapping[str, Facts], certificates: Certificates, is_main: bool
) -> Board:
    first, finished = entries[0], [entry for entry in entries if entry.status == "ok"]
    spec = (finished or entries)[0]
    names = _settings(finished, facts)
    rows = _rows(finished, certificates, facts)
    compare_rows(rows, facts, spec.direction, spec.margin)
    older = _outdated(rows, [*names], facts, first.family)
    suffix = "" if is_main else f"~{digest([first.data_fingerprint, first.primary])}"
    board = Board(
        slug=slug(first.task) + suffix,
        task=first.task,
        family=first.family,
        data_fingerprint=first.data_fingerprint,
        data_description=spec.data_description,
        metric=first.primary,
        direction=spec.direction,
        causal=any(entry.causal for entry in entries),
        margin=spec.margin,
        other="" if is_main else "other data or another metric than most runs of this task",
        protocol=on_page([facts[key] for key in names], first.family),
        settings=names,
        outdated=older,
        main=_main(rows, list(names), facts),
        rows=[],
        noise=noise_of(finished),
        failed=[(e.id, e.router, e.seed, e.status, e.reason) for e in entries if e.status != "ok"],
    )
    board.rows += _in_order(rows, board)
    return board


def _rows(
    finished: Sequence[Entry], certificates: Certificates, facts: Mapping[str, Facts]
) -> list[Row]:
    ordered = sorted(finished, key=lambda e: (e.router, e.contestant))
    runs = groupby(ordered, key=lambda e: e.contestant)
    return [row_of(list(group), certificates, facts) for _, group in runs]


def _outdated(
    rows: Sequence[Row], settings: Sequence[str], facts: Mapping[str, Facts], family: str
) -> dict[str, str]:
    """Return the settings of older protocol versions, and label their rows."""
    latest = latest_of([facts[key] for key in settings], family)
    older = {key: words for key in settings if (words := outdated(facts[key], latest))}
    for row in rows:
        if row.setting in older:
            row.labels.append(older[row.setting])
    return older


def _settings(finished: Sequence[Entry], facts: Mapping[str, Facts]) -> dict[str, str]:
    """Return the names of settings by key, in the order of their first runs."""
    first: dict[str, Entry] = {}
    for entry in sorted(finished, key=lambda e: (e.created, e.id)):
        first.setdefault(entry.setting, entry)
    names = setting_names([(facts[key], entry.steps) for key, entry in first.items()])
    return dict(zip(first, names, strict=True))


def _main(rows: Sequence[Row], settings: Sequence[str], facts: Mapping[str, Facts]) -> str:
    """Return the setting with most ranked routers, then with most routers that were not tuned.

    Among equals it is the first.
    """

    def counts(key: str) -> tuple[int, int]:
        of_setting = [row for row in rows if row.setting == key]
        ranked = {row.router for row in of_setting if not row.unranked}
        untuned = set[str]() if "study" in facts[key] else {row.router for row in of_setting}
        return len(ranked), len(untuned)

    return max(settings, key=counts, default="")


def _in_order(rows: Sequence[Row], board: Board) -> list[Row]:
    sign = -1 if board.direction == "max" else 1
    places = {key: place for place, key in enumerate(board.settings)}

    def place(row: Row) -> tuple[int, int, bool, float, str, str]:
        section = SECTIONS.index(board.section(row))
        return section, places[row.setting], row.group is None, sign * row.mean, row.router, row.key

    return sorted(rows, key=place)


def usual(values: Iterable[str]) -> str:
    """Return the most frequent value, the first in order among equals."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value), default="")


def slug(name: str) -> str:
    """Return a name as part of an address; with a hash if it had to be changed, to stay unique."""
    clean = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".") or "_"
    return clean if clean == name else f"{clean}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
