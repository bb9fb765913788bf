"""Cross-checks between records: size of a split, FLOPs of a backbone, direction of a metric."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from moesuite.leaderboard.columns.column import short
from moesuite.leaderboard.ingest.entry import Entry
from moesuite.leaderboard.ingest.facts import Facts, digest
from moesuite.records.metrics import FAMILIES
from moesuite.records.record import RunRecord

# backbones and their operations may differ between versions of these
LIBRARIES = ("torch", "timm", "transformers")
# field -> key of the records that must agree on it, and its value in this record
Claims = dict[str, tuple[str, Any]]


def claims_of(record: RunRecord, entry: Entry, setting: Facts) -> Claims:
    """Return what a record claims that other records claim too.

    Args:
        record: one that passed all checks of a single record.
        entry: of the record.
        setting: facts of its setting.
    """
    options = {key: value for key, value in setting.items() if key.startswith("task.")}
    data = digest([record.data_fingerprint, options])
    claims: Claims = {
        f"quality.{name}.n": (data, quality.n) for name, quality in record.quality.items()
    }
    if record.compute is not None:
        kind = [record.router == "dense" or record.config.get("layers")]
        depth = [record.config.get(key) for key in ("decoder", "tile_depth", "upcycle", "init")]
        versions = [record.environment.get(name) for name in LIBRARIES]
        key = digest([entry.setting, data, kind, depth, versions, record.protocol.model_dump()])
        claims["compute.executed.backbone"] = (key, short(record.compute.executed.backbone))
        contestant = digest([entry.contestant, versions, record.protocol.model_dump()])
        claims["compute.parameters_total"] = (
            contestant,
            record.compute.parameters_total,
        )
    if entry.family not in FAMILIES:
        for name, spec in record.metrics.items():
            claims[f"metrics.{name}"] = (
                record.task,
                [spec.direction, spec.least, spec.most, spec.margin],
            )
    return claims


def contradictions(claims: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield (file, problem) for each record that contradicts others.

    Of numbers, the value of the majority stands. Of declarations (`metrics.…`) none does: a wrong
    direction would turn the board upside down, and writing more records must not decide on it.

    Args:
        claims: `Claims` of each file.
    """
    values_of = defaultdict[tuple[str, str], dict[str, Any]](dict)
    for where, fields in claims.items():
        for field, (key, value) in fields.items():
            values_of[field, key][where] = value
    for (field, _), values in values_of.items():
        counts = Counter(map(repr, values.values()))
        if len(counts) == 1:
            continue
        ((usual, count), *_) = counts.most_common(1)
        stands = None if field.startswith("metrics.") or 2 * count <= len(values) else usual
        for where, value in values.items():
            if repr(value) != stands:
                other, there = next((w, v) for w, v in values.items() if repr(v) != repr(value))
                allowed = f"{stands or 'the same in all records'}, of one task and its data"
                yield where, f"{field} is {value}, but {there} in {other}; allowed: {allowed}"
