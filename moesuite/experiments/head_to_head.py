"""Head to head on the console: each router against the matched dense model, paired by seed."""

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
GOES_ON = (
    "init",
    "upcycle",
    "upcycle_state",
)  # a start from weights: compared with a dense model that starts likewise
PATHS = ("init", "upcycle")  # whose weights they are follows from router and seed
SHARED_SEEDS = ("seed", "data.seed", "backbone.seed")  # of data order and dense initialisation
Seeds = tuple[int, ...]


@dataclass(frozen=True)
class Contest:
    """Runs that may be compared: they share all but router, experts and seeds.

    Attributes:
        setting: the options in which other contests of the same task differ; empty for none.
        metric, direction: of the quality.
        qualities: by contestant and `SHARED_SEEDS`; a dense one, where there is one, by the name of
            `DENSE`.
    """

    setting: str
    metric: str
    direction: Direction
    qualities: dict[str, dict[Seeds, float]]


@dataclass(frozen=True)
class Difference:
    """A contestant minus the dense model, over the seeds that both have.

    Attributes:
        contestant: router, and its options where they vary.
        mean: of its quality, over all of its own seeds.
        seeds: that both have.
        apart: mean difference; None without a shared seed.
        half: half the width of its 95 % interval; None below `ENOUGH` shared seeds.
        missing: seeds that one of the two lacks, in words; empty for none.
    """

    contestant: str
    mean: float
    seeds: int
    apart: float | None
    half: float | None
    missing: str


def contests(records: Sequence[RunRecord]) -> list[Contest]:
    """Return the contests among runs of one task and metric, in the order of their first runs."""
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
    """Return the name of a contestant: its router, and the options in which runs of that router differ.

    A dense model has no experts: one stands beside all of their numbers, and only its depth makes
    another of it.
    """
    own, others = _brought(record.config), [_brought(other.config) for other in alike]
    shown = [f"{key}={value}" for key, value in own.items() if key in _varying(others)]
    if record.router == DENSE:
        shown = [
            text for text in shown if text.startswith("tile_depth=") and text != "tile_depth=1"
        ]
    return ", ".join([record.router, *shown])


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}.{option}".rstrip("."): value for name, option, value, _ in options_of(config)}


def _setting(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that contestants share."""
    shared = {
        f"{name}.{option}".rstrip("."): value
        for name, option, value, role in options_of(config)
        if role.in_setting
    }
    starts = {key: key in PATHS or config[key] for key in GOES_ON if config.get(key) is not None}
    return shared | starts


def _brought(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a contestant brings."""
    own = {
        f"{name}.{option}".rstrip("."): value
        for name, option, value, role in options_of(config)
        if role is Role.CONTESTANT and name not in GOES_ON
    }
    if config.get("router_seed") != config.get("seed"):  # else it follows
        own["router_seed"] = config.get("router_seed")
    return own


def _varying(options: Sequence[Mapping[str, Any]]) -> set[str]:
    keys = {key for one in options for key in one}
    return {key for key in keys if any(one.get(key) != options[0].get(key) for one in options)}


def differences(contest: Contest) -> list[Difference]:
    """Return every contestant against the dense one, the best difference first; empty without a dense one."""
    dense = contest.qualities.get(DENSE)
    if dense is None:
        return []
    everyone = sorted({seeds for values in contest.qualities.values() for seeds in values})
    number = {seeds: index for index, seeds in enumerate(everyone)}
    theirs = {number[seeds]: value for seeds, value in dense.items()}
    rows = []
    for name, values in contest.qualities.items():
        if name == DENSE:
            continue
        found = difference({number[seeds]: value for seeds, value in values.items()}, theirs)
        mean = statistics.fmean(values.values())
        missing = "; ".join(
            filter(None, (_missing(name, values, everyone), _missing(DENSE, dense, everyone)))
        )
        if found is None:
            rows.append(Difference(name, mean, 0, None, None, missing))
        else:
            rows.append(Difference(name, mean, found.n, found.mean, found.half, missing))
    sign = 1 if contest.direction == "max" else -1
    return sorted(
        rows, key=lambda row: -sign * row.apart if row.apart is not None else float("inf")
    )


def _missing(name: str, values: Mapping[Seeds, float], everyone: Sequence[Seeds]) -> str:
    """Return which seeds of others a contestant lacks."""
    lacks = ["/".join(map(str, dict.fromkeys(seeds))) for seeds in everyone if seeds not in values]
    return f"{name.partition(',')[0]} lacks seed {', '.join(lacks)}" if lacks else ""


def show_differences(console: Console, title: str, records: Sequence[RunRecord]) -> None:
    """Print the head-to-head of every contest among runs of one task and metric.

    Without a dense run, one line says what to type.
    """
    found = [(contest, differences(contest)) for contest in contests(records)]
    for contest, rows in found:
        if not rows:
            continue
        better = "larger" if contest.direction == "max" else "smaller"
        heading = f"{title}{': ' * bool(contest.setting)}{contest.setting}: {contest.metric} - dense, paired by seed"
        columns = ["router", "mean", f"- dense ({better} is better)", "95 %", "seeds", "missing"]
        table = Table(*columns, title=escape(heading), title_justify="left")
        for row in rows:
            apart = "–" if row.apart is None else f"{row.apart:+.4f}"
            interval = (
                f"{ENOUGH - row.seeds} seeds too few" if row.half is None else f"±{row.half:.4f}"
            )
            table.add_row(
                escape(row.contestant),
                f"{row.mean:.4f}",
                apart,
                interval,
                str(row.seeds),
                escape(row.missing),
            )
        console.print(table)
    if not any(DENSE in contest.qualities for contest, _ in found):
        routers = ",".join(dict.fromkeys(record.router for record in records))
        console.print(
            f"{title}: no dense run to compare with; type router={DENSE},{routers} for the difference to it",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
