"""Contestants against the matched dense model and against the best: differences, tie groups, what could be shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from moesuite.leaderboard.columns.column import short
from moesuite.leaderboard.ingest.facts import DENSE_OPTIONS, Facts
from moesuite.leaderboard.ingest.versions import newest, outdated
from moesuite.leaderboard.ranking.contestants import CONTROLS, REFUTED, Difference, Row
from moesuite.leaderboard.ranking.naming import plain_setting
from moesuite.statistics.equivalence import Comparison, compare_seeds
from moesuite.statistics.significance import LEVEL, holm, tie_groups

Direction = Literal["max", "min"]


def compare_rows(
    rows: Sequence[Row], facts: Mapping[str, Facts], direction: Direction, margin: float | None
) -> None:
    """Compare contestants with their matched dense model, and sort those of each setting into tie groups.

    Matched is the dense model of the same setting and depth that began from the same: from nothing,
    a checkpoint, or a dense run. A tuned setting has the dense model of the untuned one with the
    same options. A row that a rerun contradicts is compared with nothing, and nothing with it.

    Args:
        rows: of a benchmark; changed in place.
        facts: settings and contestants by hash.
        direction: of the quality.
        margin: largest difference that counts as none.
    """
    begun = {row.key: _begun(row, facts) for row in rows}
    untuned = [row for row in rows if row.router == "dense" and "study" not in facts[row.setting]]
    dense = {begun[row.key]: row for row in untuned if not row.refuted}
    by_setting = defaultdict[str, list[Row]](list)
    for row in rows:
        by_setting[row.setting].append(row)
    for group in by_setting.values():
        names = {row.router for row in group}
        latest = {
            name: newest(facts[row.key] for row in group if row.router == name) for name in names
        }
        for row in group:
            older = outdated(facts[row.key], latest[row.router])
            row.unranked = older or _unranked(row, begun[row.key] in dense, facts)
        matched = {row.key: dense[begun[row.key]] for row in group if begun[row.key] in dense}
        _against_dense(group, matched, direction, margin)
        _against_best([row for row in group if not row.unranked], direction, margin)


def _begun(row: Row, facts: Mapping[str, Facts]) -> tuple[str, str]:
    return plain_setting(facts[row.setting]), repr(
        [facts[row.key].get(key) for key in DENSE_OPTIONS]
    )


def _unranked(row: Row, has_dense: bool, facts: Mapping[str, Facts]) -> str:
    if row.router in CONTROLS:
        return f"control: {REFUTED}" if row.refuted else "control"
    if row.refuted:
        return REFUTED
    if row.figures["lookahead"]:
        return "not applicable: outputs depend on later tokens"
    if "study" in facts[row.setting]:
        return "tuned"
    return "" if has_dense else "no matched dense run"


def _against_dense(
    rows: Sequence[Row], matched: Mapping[str, Row], direction: Direction, margin: float | None
) -> None:
    others = [
        row
        for row in rows
        if row.key in matched and matched[row.key] is not row and not row.refuted
    ]
    found = {
        row.key: compare_seeds(row.values, matched[row.key].values, margin, len(others))
        for row in others
    }
    apart = holm(
        {key: one.p for key, one in found.items() if one is not None and one.p is not None}
    )
    equal = holm(
        {key: one.equal for key, one in found.items() if one is not None and one.equal is not None}
    )
    for row in others:
        one = found[row.key]
        if one is not None:
            is_apart = apart.get(row.key, 1.0) < LEVEL
            row.to_dense = difference(one, is_apart, equal.get(row.key), direction)


def _against_best(rows: Sequence[Row], direction: Direction, margin: float | None) -> None:
    """Sort into tie groups, and compare with the best: corrected for all pairs, for any could be the best."""
    groups = tie_groups({row.key: row.values for row in rows}, direction)
    sign, pairs = 1 if direction == "max" else -1, max(1, len(rows) * (len(rows) - 1) // 2)
    best = max(rows, key=lambda row: (sign * row.mean, row.key), default=None)
    for row in rows:
        row.group = groups[row.key]
        if best is None or row is best:
            continue
        one = compare_seeds(row.values, best.values, margin, pairs)
        if one is not None:
            equal = None if one.equal is None else min(1.0, pairs * one.equal)
            row.to_best = difference(one, row.group > 1, equal, direction)


def difference(
    one: Comparison, is_apart: bool, equal: float | None, direction: Direction
) -> Difference:
    """Return a comparison as it is shown.

    Args:
        one: the comparison.
        is_apart: whether a difference is shown, after correction.
        equal: corrected p-value of the test of equality.
        direction: of the quality.
    """
    words = []
    if is_apart:
        words.append("better" if (one.mean > 0) == (direction == "max") else "worse")
    if equal is not None and equal < LEVEL:
        words.append("equal")
    return Difference(
        mean=short(one.mean),
        half=None if one.half is None else short(one.half),
        seeds=one.n,
        detectable=None if one.detectable is None else short(one.detectable),
        equal=None if equal is None else short(equal),
        verdict=" yet ".join(words) or ("" if one.half is None else "open"),
    )
