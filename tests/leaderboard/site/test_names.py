"""Python and JavaScript agree by name: scripts read what pages carry, and nothing is carried that none reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from moesuite.leaderboard.ingest.entry import Timings, entry_of
from moesuite.leaderboard.ranking.board import Board, boards
from moesuite.leaderboard.ranking.contestants import CHECKS
from moesuite.leaderboard.ranking.noise import Noise, Spread
from moesuite.leaderboard.site import payload
from moesuite.records.certificate import Example, LayerRouting, Looked
from moesuite.records.compute import Compute, Split, Timing
from moesuite.records.record import CurvePoint, LayerHealth, Quality, RunRecord
from tests.leaderboard.boards import example

STATIC = Path(payload.__file__).parent / "static"
OF_LISTS = {
    "length",
    "map",
    "flatMap",
    "join",
    "filter",
    "find",
    "slice",
    "at",
    "forEach",
    "includes",
    "findIndex",
}


def script(*names: str) -> str:
    return "\n".join((STATIC / f"{name}.js").read_text() for name in names)


def read(text: str, variable: str) -> set[str]:
    """Return the names that a script reads of a variable."""
    return (
        set(re.findall(rf"(?<![\w\"'/])(?<![\w)\]]\.){variable}\.(\w+)\b(?! = )", text)) - OF_LISTS
    )


def written(text: str, variable: str) -> set[str]:
    """Return the names that a script itself gives to a variable."""
    return set(re.findall(rf"(?<![\w.]){variable}\.(\w+) = ", text))


def board() -> Board:
    known = [entry_of(record) for record in example() if record.task == "mine"]
    facts = {key: value for _, one in known for key, value in one.items()}
    return boards([entry for entry, _ in known], facts, {})[0]


def test_names_are_found_where_they_are_read() -> None:
    text = "row.kind = 1; show(row.mean, other.row.no, {...row.all}); const row2 = row.values.map((v) => v)"
    assert read(text, "row") == {"mean", "values", "all"} and written(text, "row") == {"kind"}


def test_a_benchmarks_table_reads_the_columns_that_there_are() -> None:
    carried = payload.benchmark_payload(board())
    names = carried["columns"].keys() | carried["constants"].keys()
    text = script("table", "columns", "charts")
    assert tuple(re.findall(r"(\w+): \[\"[DCBP]\"", text)) == CHECKS
    assert names - read(text, "row") == {*CHECKS}
    assert read(text, "row") - written(text, "row") - names == {
        "timings"
    }  # joined to rows by their numbers


def test_a_column_by_another_name_would_be_seen() -> None:
    carried = payload.benchmark_payload(board())
    names = carried["columns"].keys() | carried["constants"].keys()
    text = script("table", "columns", "charts").replace("row.mean", "row.average")
    assert "average" in read(text, "row") - names and "mean" in names - read(text, "row")


def test_a_benchmarks_page_reads_what_the_board_carries() -> None:
    carried = payload.benchmark_payload(board())
    assert read(script("table", "columns", "charts"), "board") == carried.keys()
    times = re.findall(r'timing\(row, "(\w+)"\)', script("columns", "charts"))
    assert set(times) == Timings.model_fields.keys()
    assert read(script("table"), "ratios") == Noise.model_fields.keys()
    assert read(script("table"), "one") == Spread.model_fields.keys()
    assert carried["timings"].keys() == carried["noise"].keys()


def test_curves_and_health_are_read_by_name() -> None:
    (curves,) = {tuple(one) for one in payload.curves(board()).values()}
    text = script("charts")
    (declared,) = re.findall(r"const CURVES = {(.*?)};", text)
    assert {*re.findall(r"(\w+): \[", declared)} | {"quality"} == {
        *curves
    } and "curve.quality" in text
    health = payload.health(next(row for row in board().rows if row.health))
    (pairs,) = re.findall(r"for \(const \[label, name\] of \[(.*?)\]\) {", script("router"))
    assert {*re.findall(r", \"(\w+)\"\]", pairs)} | {"step"} == health.keys()
    assert read(script("router"), "one") == {"step", "name"}


OF_RUN: dict[str, set[str]] = {
    "record": {*RunRecord.model_fields},
    "q": {*Quality.model_fields},
    "compute": {*Compute.model_fields},
    "t": {*Timing.model_fields},
    "layer": {*LayerHealth.model_fields},
    "p": {*CurvePoint.model_fields},
}


@pytest.mark.parametrize("variable", OF_RUN)
def test_a_runs_page_reads_what_a_record_holds(variable: str) -> None:
    names = read(script("run"), variable)
    assert names and names <= OF_RUN[variable]


def test_a_runs_page_names_parts_and_columns_of_the_record() -> None:
    text = script("run")
    (parts,) = re.findall(r"const parts = (\[.*?\])", text)
    (columns,) = re.findall(r"columns = (\[.*?\])", text)
    assert (
        set(json.loads(parts)) == Split.model_fields.keys()
        and set(json.loads(columns)) <= Compute.model_fields.keys()
    )
    (pairs,) = re.findall(r"el\(\"div\", { class: \"looks\" }, \[(.*?)\]\.map", text)
    assert {*re.findall(r", \"(\w+)\"\]", pairs)} <= CurvePoint.model_fields.keys()


def test_what_a_router_looked_at_is_read_by_name() -> None:
    text = script("looked")
    assert read(text, "layer") == LayerRouting.model_fields.keys()
    assert read(text, "example") == Example.model_fields.keys()
    assert read(text, "found") <= Looked.model_fields.keys()
