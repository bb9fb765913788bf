"""Console report of head-to-heads: each router against the matched dense model, paired by seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesuite.config.roles import Role
from moesuite.config.schema import options_of
from moesuite.records.record import RunRecord
from moesuite.statistics.significance import ENOUGH, Direction, difference

DENSE = "dense"
# initial weights: a run is compared with a dense model that starts from such weights too
INITIAL_WEIGHTS = ("init", "upcycle", "upcycle_state")
PATHS = ("init", "upcycle")  # which run's weights these are follows from router and seed
SHARED_SEEDS = ("seed", "data.seed", "backbone.seed")  # of data order and dense initialisation
Seeds = tuple[int, ...]


@dataclass(frozen=True)
class Contest:
    """Comparable runs: all options are shared but router, experts and seeds.

    Attributes:
        setting: options that differ from other contests of the same task; empty if none do.
        metric, direction: of the quality.
        qualities: by contestant and `SHARED_SEEDS`; the dense model's under `DENSE`, if it ran.
    """

    setting: str
    metric: str
    direction: Direction
    qualities: dict[str, dict[Seeds, float]]


@dataclass(frozen=True)
class Difference:
    """A contestant minus the dense model, over shared seeds.

    Attributes:
        contestant: router, and its options where they vary.
        mean: quality over all seeds of the contestant.
        seeds: number of shared seeds.
        difference: mean difference; None without a shared seed.
        half: half the width of its 95 % interval; None below `ENOUGH` shared seeds.
        missing: seeds that one of the two lacks, in words; empty if none.
    """

    contestant: str
    mean: float
    seeds: int
    difference: float | None
    half: float | None
    missing: str


def contests(records: Sequence[RunRecord]) -> list[Contest]:
    """Return the contests among runs of one task and metric, in order of their first runs."""
    settings = [_setting(record.config) for record in records]
    varying = _varying(settings)
    groups: dict[str, list[RunRecord]] = {}
    for record, setting in zip(records, settings, strict=True):
        name = ", ".join(f"{key}={value}" for key, value in setting.items() if key in varying)
        groups.setdefault(name, []).append(record)
    return [_contest(name, members) for name, members in groups.items()]


def _contest(setting: str, records: Sequence[RunRecord]) -> Contest:
    qualities: dict[str, dict[Seeds, float]] = {}
    for record in records:
        label = contestant(record, [other for other in records if other.router == record.router])
        options = _options(record.config)
        seeds = tuple(int(options.get(key, record.seed)) for key in SHARED_SEEDS)
        qualities.setdefault(label, {}).setdefault(seeds, record.quality[record.primary].value)
    first = records[0]
    return Contest(setting, first.primary, first.quality[first.primary].direction, qualities)


def contestant(record: RunRecord, alike: Sequence[RunRecord]) -> str:
    """Return the name of a contestant: its router, and the options that vary over runs of it.

    A dense model has no experts, so that options of experts do not tell dense models apart; only
    depth does.
    """
    varying = _varying([_contestant_options(other.config) for other in alike])
    options = {
        key: value for key, value in _contestant_options(record.config).items() if key in varying
    }
    if record.router == DENSE:
        depth = options.get("tile_depth", 1)
        options = {} if depth == 1 else {"tile_depth": depth}
    return ", ".join([record.router, *(f"{key}={value}" for key, value in options.items())])


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options by their dotted names."""
    return {f"{name}.{option}".rstrip("."): value for name, option, value, _ in options_of(config)}


def _setting(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that all contestants of a contest share."""
    shared = {
        f"{name}.{option}".rstrip("."): value
        for name, option, value, role in options_of(config)
        if role.in_setting
    }
    weights = {
        key: key in PATHS or config[key] for key in INITIAL_WEIGHTS if config.get(key) is not None
    }
    return shared | weights


def _contestant_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that may differ between contestants."""
    options = {
        f"{name}.{option}".rstrip("."): value
        for name, option, value, role in options_of(config)
        if role is Role.CONTESTANT and name not in INITIAL_WEIGHTS
    }
    if config.get("router_seed") != config.get("seed"):  # by default it follows the seed
        options["router_seed"] = config.get("router_seed")
    return options


def _varying(options: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the names of options whose values differ."""
    first = options[0]
    names = set().union(*options)
    return {name for name in names if any(other.get(name) != first.get(name) for other in options)}


def differences(contest: Contest) -> list[Difference]:
    """Return every contestant minus the dense model, the best first; empty without a dense run."""
    dense = contest.qualities.get(DENSE)
    if dense is None:
        return []
    all_seeds = sorted(set().union(*contest.qualities.values()))
    number = {seeds: index for index, seeds in enumerate(all_seeds)}
    dense_by_number = {number[seeds]: value for seeds, value in dense.items()}
    rows = []
    for name, values in contest.qualities.items():
        if name == DENSE:
            continue
        by_number = {number[seeds]: value for seeds, value in values.items()}
        estimate = difference(by_number, dense_by_number)
        missing = (_missing(name, values, all_seeds), _missing(DENSE, dense, all_seeds))
        rows.append(
            Difference(
                contestant=name,
                mean=statistics.fmean(values.values()),
                seeds=0 if estimate is None else estimate.n,
                difference=None if estimate is None else estimate.mean,
                half=None if estimate is None else estimate.half,
                missing="; ".join(text for text in missing if text),
            )
        )
    sign = -1 if contest.direction == "max" else 1

    def worst_last(row: Difference) -> float:
        return float("inf") if row.difference is None else sign * row.difference

    return sorted(rows, key=worst_last)


def _missing(name: str, values: Mapping[Seeds, float], all_seeds: Sequence[Seeds]) -> str:
    """Return which seeds of other contestants one lacks."""
    lacks = ["/".join(map(str, dict.fromkeys(seeds))) for seeds in all_seeds if seeds not in values]
    return f"{name.partition(',')[0]} lacks seed {', '.join(lacks)}" if lacks else ""


def print_head_to_head(console: Console, title: str, records: Sequence[RunRecord]) -> None:
    """Print all contests among runs of one task and metric, or how to get a dense run."""
    all_contests = contests(records)
    for contest in all_contests:
        if rows := differences(contest):
            console.print(_contest_table(title, contest, rows))
    if not any(DENSE in contest.qualities for contest in all_contests):
        routers = ",".join(dict.fromkeys(record.router for record in records))
        advice = f"type router={DENSE},{routers} for the difference to it"
        line = f"{title}: no dense run to compare with; {advice}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _contest_table(title: str, contest: Contest, rows: Sequence[Difference]) -> Table:
    better = "larger" if contest.direction == "max" else "smaller"
    where = f"{title}: {contest.setting}" if contest.setting else title
    heading = f"{where}: {contest.metric} - dense, paired by seed"
    columns = ["router", "mean", f"- dense ({better} is better)", "95 %", "seeds", "missing"]
    table = Table(*columns, title=escape(heading), title_justify="left")
    for row in rows:
        difference = "–" if row.difference is None else f"{row.difference:+.4f}"
        too_few = f"{ENOUGH - row.seeds} seeds too few"
        table.add_row(
            escape(row.contestant),
            f"{row.mean:.4f}",
            difference,
            too_few if row.half is None else f"±{row.half:.4f}",
            str(row.seeds),
            escape(row.missing),
        )
    return table
