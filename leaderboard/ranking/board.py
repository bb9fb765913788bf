"""From entries to the table of one benchmark: settings by name, contestants, their comparisons. No formatting."""

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
        slug: of the page; `other`: why this is not the task's main page.
        protocol: versions of engine and task family, the newest of all runs, in words.
        causal: whether the task predicts later inputs, so that routers which look ahead do not
            apply.
        margin: largest difference of the metric that counts as none; None: there is no such.
        settings: names by key; `main`: key of the setting in which most routers are ranked.
        outdated: of settings of an older protocol, by key, what is newer.
        rows: in the order of `SECTIONS`; ranked ones first, by quality.
        noise: spread of the ratios of dense models to the dense model measured beside them, by
            machine and column.
        failed: (id, router, seed, status, reason) of runs without a result.
    """

    slug: str
    task: str
    family: str
    data_fingerprint: str
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
    """Return the benchmarks of one task; data of another fingerprint, or another metric, is another benchmark.

    Trials of a search are left to its study's page: the best of many is too good by luck.

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
    return [_board(parts[key], facts, certificates, main=key == main) for key in parts]


def _board(
    entries: Sequence[Entry], facts: Mapping[str, Facts], certificates: Certificates, main: bool
) -> Board:
    first, finished = entries[0], [entry for entry in entries if entry.status == "ok"]
    direction, margin = (finished or entries)[0].direction, (finished or entries)[0].margin
    names = _settings(finished, facts)
    runs = groupby(
        sorted(finished, key=lambda e: (e.router, e.contestant)), key=lambda e: e.contestant
    )
    rows = [row_of(list(group), certificates, facts) for _, group in runs]
    compare_rows(rows, facts, direction, margin)
    latest = latest_of([facts[key] for key in names], first.family)
    older = {key: words for key in names if (words := outdated(facts[key], latest))}
    for row in rows:
        row.labels += [older[row.setting]] if row.setting in older else []
    board = Board(
        slug=slug(first.task)
        if main
        else f"{slug(first.task)}~{digest([first.data_fingerprint, first.primary])}",
        task=first.task,
        family=first.family,
        data_fingerprint=first.data_fingerprint,
        metric=first.primary,
        direction=direction,
        causal=any(entry.causal for entry in entries),
        margin=margin,
        other="" if main else "other data or another metric than most runs of this task",
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


def _settings(finished: Sequence[Entry], facts: Mapping[str, Facts]) -> dict[str, str]:
    """Return the names of settings by key, in the order of their first runs."""
    first: dict[str, Entry] = {}
    for entry in sorted(finished, key=lambda e: (e.created, e.id)):
        first.setdefault(entry.setting, entry)
    return dict(
        zip(
            first,
            setting_names([(facts[key], entry.steps) for key, entry in first.items()]),
            strict=True,
        )
    )


def _main(rows: Sequence[Row], settings: Sequence[str], facts: Mapping[str, Facts]) -> str:
    """Return the setting with most ranked routers, then with most that were not tuned; the first one among equals."""

    def routers(key: str) -> tuple[int, int]:
        own = [row for row in rows if row.setting == key]
        plain = [row for row in own if "study" not in facts[key]]
        return -len({row.router for row in own if not row.unranked}), -len(
            {row.router for row in plain}
        )

    return min(settings, key=routers, default="")


def _in_order(rows: Sequence[Row], board: Board) -> list[Row]:
    sign, places = (
        -1 if board.direction == "max" else 1,
        {key: place for place, key in enumerate(board.settings)},
    )

    def place(row: Row) -> tuple[int, int, bool, float, str, str]:
        section = SECTIONS.index(board.section(row))
        return section, places[row.setting], row.group is None, sign * row.mean, row.router, row.key

    return sorted(rows, key=place)


def usual(values: Iterable[str]) -> str:
    """Return the most frequent value, the first in order among equals."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value), default="")


def slug(name: str) -> str:
    """Return a name as part of an address: a name that has to be changed gets a hash, so that two never meet."""
    clean = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".") or "_"
    return clean if clean == name else f"{clean}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
