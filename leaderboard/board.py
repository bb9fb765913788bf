"""From entries to the table of one benchmark: contestants, paired comparisons, tie groups. No formatting."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal

from moesuite.artifacts import Certificates
from moesuite.costs import Part
from moesuite.leaderboard.contestants import Row, row_of
from moesuite.leaderboard.entry import OF_DENSE, Entry, Facts, digest, short
from moesuite.leaderboard.versions import in_words, newest, outdated
from moesuite.significance import Estimate, difference, tie_groups


class Board(Part):
    """One benchmark: a task on one version of its data, ranked by one metric.

    Attributes:
        slug: of the page; `other`: why this is not the task's main page.
        protocol: versions of engine and task family, the newest of all runs, in words.
        settings: by key, a letter and what sets it apart from the page's other settings.
        failed: (id, router, seed, status, reason) of runs without a result.
    """

    slug: str
    task: str
    family: str
    data: str
    metric: str
    direction: Literal["max", "min"]
    other: str = ""
    protocol: str = ""
    settings: dict[str, tuple[str, str]]
    rows: list[Row]
    failed: list[tuple[str, str, int, str, str]]


def boards(entries: Iterable[Entry], facts: Mapping[str, Facts], certificates: Certificates) -> list[Board]:
    """Return the benchmarks of one task; data of another fingerprint, or another metric, is another benchmark.

    Trials of a search are left to its study's page: the best of many is too good by luck.

    Args:
        entries: of the task, in any order.
        facts: settings and contestants by hash.
        certificates: by router.
    """
    shown = [entry for entry in entries if entry.trial is None]
    ordered = sorted(shown, key=lambda e: (e.data, e.primary, e.router, e.contestant, e.seed, e.created, e.id))
    parts = {key: list(group) for key, group in groupby(ordered, key=lambda e: (e.data, e.primary))}
    finished = {key: sum(entry.status == "ok" for entry in parts[key]) for key in parts}
    main = min(parts, key=lambda key: (-finished[key], key), default=None)
    return [_board(parts[key], facts, certificates, main=key == main) for key in parts]


def _board(entries: Sequence[Entry], facts: Mapping[str, Facts], certificates: Certificates, main: bool) -> Board:
    first, finished = entries[0], [entry for entry in entries if entry.status == "ok"]
    used = sorted({entry.setting for entry in finished})
    names = dict(zip(used, _apart([facts[key] for key in used]), strict=True))
    rows = []
    for setting in used:
        own = [entry for entry in finished if entry.setting == setting]
        contestants = [list(group) for _, group in groupby(own, key=lambda e: (e.router, e.contestant))]
        rows += _compared([row_of(runs, certificates, facts) for runs in contestants], facts, own[0].direction)
    _name_variants(rows, facts)
    sign = -1 if first.direction == "max" else 1
    rows.sort(key=lambda row: (names[row.setting], sign * row.mean, row.router, row.key))
    return Board(
        slug=slug(first.task) if main else f"{slug(first.task)}~{digest([first.data, first.primary])}",
        task=first.task,
        family=first.family,
        data=first.data,
        metric=first.primary,
        direction=(finished or entries)[0].direction,
        other="" if main else "other data or another metric than most runs of this task",
        protocol=", ".join(in_words(key, version, 0) for key, version in newest(facts[key] for key in used).items()),
        settings={key: (letter(index), names[key]) for index, key in enumerate(sorted(used, key=lambda k: names[k]))},
        rows=rows,
        failed=[(e.id, e.router, e.seed, e.status, e.reason) for e in entries if e.status != "ok"],
    )


def _compared(rows: list[Row], facts: Mapping[str, Facts], direction: Literal["max", "min"]) -> list[Row]:
    """Compare the contestants of a setting with the matched dense model, and sort them into tie groups.

    Matched is the dense model of the same depth that began from the same: from nothing, a checkpoint, or a dense run.
    """
    dense = {_begun(facts[row.key]): row for row in rows if row.router == "dense"}
    latest = {name: newest(facts[row.key] for row in rows if row.router == name) for name in {r.router for r in rows}}
    for row in rows:
        matched = dense.get(_begun(facts[row.key]))
        if old := outdated(facts[row.key], latest[row.router]):
            row.unranked = old
        elif row.lookahead:
            row.unranked = "outputs depend on later tokens"
        elif matched is None:
            row.unranked = "no matched dense run"
        if matched is not None and matched is not row:
            row.apart = _triple(difference(row.values, matched.values))
    ranked = {row.key: row.values for row in rows if not row.unranked}
    groups = tie_groups(ranked, direction)
    for row in rows:
        row.group = groups.get(row.key)
    return rows


def _begun(own: Facts) -> str:
    return repr([own.get(key) for key in OF_DENSE])


def _triple(found: Estimate | None) -> tuple[float, float | None, int] | None:
    return None if found is None else (short(found.mean), None if found.half is None else short(found.half), found.n)


def _name_variants(rows: list[Row], facts: Mapping[str, Facts]) -> None:
    """Tell rows of one router and setting apart by the options in which they differ."""
    for _, group in groupby(sorted(rows, key=lambda r: (r.router, r.setting)), key=lambda r: (r.router, r.setting)):
        own = list(group)
        for row, name in zip(own, _apart([facts[row.key] for row in own]), strict=True):
            row.variant = name


def _apart(options: Sequence[Facts]) -> list[str]:
    """Return for each of several sets of options those that not all of them share."""
    keys = sorted({key for own in options for key in own})
    differing = [key for key in keys if len({repr(own.get(key)) for own in options}) > 1]
    latest = newest(options)
    return [", ".join(_named(key, own[key], latest) for key in differing if key in own) for own in options]


def _named(key: str, value: object, latest: Mapping[str, int]) -> str:
    return in_words(key, int(str(value)), latest[key]) if key in latest else f"{key}={value}"


def letter(index: int) -> str:
    """Return A, B and so on, A1 after Z."""
    return chr(ord("A") + index % 26) + (str(index // 26) if index >= 26 else "")


def usual(values: Iterable[str]) -> str:
    """Return the most frequent value, the first in order among equals."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value), default="")


def slug(name: str) -> str:
    """Return a name as part of an address: a name that has to be changed gets a hash, so that two never meet."""
    clean = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".") or "_"
    return clean if clean == name else f"{clean}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
