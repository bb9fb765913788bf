"""Contestants against the matched dense model and against the best: differences and tie groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from moesuite.leaderboard.columns.column import short
from moesuite.leaderboard.ingest.facts import DENSE_OPTIONS, Facts
from moesuite.leaderboard.ingest.versions import newest, outdated
from moesuite.leaderboard.ranking.contestants import CONTROLS, Difference, Row
from moesuite.leaderboard.ranking.labels import REFUTED
from moesuite.leaderboard.ranking.naming import plain_setting
from moesuite.statistics.equivalence import Comparison, compare_seeds
from moesuite.statistics.significance import LEVEL, holm, tie_groups

Direction = Literal["max", "min"]


def compare_rows(
    rows: Sequence[Row], facts: Mapping[str, Facts], direction: Direction, margin: float | None
) -> None:
    """Compare contestants with their matched dense model, and sort each setting into tie groups.

    The matched dense model has the same setting, depth and start: initialisation, checkpoint or
    dense run. For a tuned setting it is that of the untuned setting with the same options. A row
    that a rerun contradicts is compared with nothing, and nothing with it.

    Args:
        rows: of a benchmark; changed in place.
        facts: settings and contestants by hash.
        direction: of the quality.
        margin: largest difference that counts as none.
    """
    start = {row.key: _start(row, facts) for row in rows}
    untuned = [row for row in rows if row.router == "dense" and "study" not in facts[row.setting]]
    dense = {start[row.key]: row for row in untuned if not row.refuted}
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
            row.unranked = older or _unranked(row, start[row.key] in dense, facts)
        matched = {row.key: dense[start[row.key]] for row in group if start[row.key] in dense}
        _against_dense(group, matched, direction, margin)
        _against_best([row for row in group if not row.unranked], direction, margin)


def _start(row: Row, facts: Mapping[str, Facts]) -> tuple[str, str]:
    """Return what a contestant and its matched dense model have in common."""
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
    comparisons = {
        row.key: comparison
        for row in others
        if (comparison := compare_seeds(row.values, matched[row.key].values, margin, len(others)))
    }
    different = holm({key: c.p for key, c in comparisons.items() if c.p is not None})
    equal = holm({key: c.equal for key, c in comparisons.items() if c.equal is not None})
    for row in others:
        if row.key in comparisons:
            is_different = different.get(row.key, 1.0) < LEVEL
            row.to_dense = difference(
                comparisons[row.key], is_different, equal.get(row.key), direction
            )


def _against_best(rows: Sequence[Row], direction: Direction, margin: float | None) -> None:
    """Sort into tie groups, and compare with the best.

    Corrected for all pairs, because each contestant could have been the best.
    """
    groups = tie_groups({row.key: row.values for row in rows}, direction)
    sign, pairs = 1 if direction == "max" else -1, max(1, len(rows) * (len(rows) - 1) // 2)
    best = max(rows, key=lambda row: (sign * row.mean, row.key), default=None)
    for row in rows:
        row.group = groups[row.key]
        if best is None or row is best:
            continue
        comparison = compare_seeds(row.values, best.values, margin, pairs)
        if comparison is not None:
            p = comparison.equal
            equal = None if p is None else min(1.0, pairs * p)
            row.to_best = difference(comparison, row.group > 1, equal, direction)


def difference(
    comparison: Comparison, is_different: bool, equal: float | None, direction: Direction
) -> Difference:
    """Return a comparison with its verdict, rounded.

    Args:
        comparison: over shared seeds.
        is_different: whether a difference is shown, after correction.
        equal: corrected p-value of the test of equality.
        direction: of the quality.
    """
    words = []
    if is_different:
        words.append("better" if (comparison.mean > 0) == (direction == "max") else "worse")
    if equal is not None and equal < LEVEL:
        words.append("equal")
    return Difference(
        mean=short(comparison.mean),
        half=_short(comparison.half),
        seeds=comparison.n,
        detectable=_short(comparison.detectable),
        equal=_short(equal),
        verdict=" yet ".join(words) or ("" if comparison.half is None else "open"),
    )


def _short(value: float | None) -> float | None:
    return None if value is None else short(value)
