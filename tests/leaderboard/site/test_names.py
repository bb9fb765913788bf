"""Python and JavaScript agree by name.

Scripts read what pages carry, and pages carry nothing that no script reads.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from moesuite.leaderboard import columns
from moesuite.leaderboard.ingest.entry import entry_of
from moesuite.leaderboard.ranking.board import Board, boards
from moesuite.leaderboard.ranking.contestants import CHECKS
from moesuite.leaderboard.ranking.noise import Spread
from moesuite.leaderboard.site import payload, render
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
    return "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names)


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
    text = (
        "row.kind = 1; show(row.mean, other.row.no, {...row.all}); "
        "const row2 = row.values.map((v) => v)"
    )
    assert read(text, "row") == {"mean", "values", "all"} and written(text, "row") == {"kind"}


TIMES = {column.name for column in columns.figures() if column.per_machine}
TABLE = ("rows", "columns", "view", "table", "comparison", "controls", "copies", "charts")
GENERIC = {column.name for column in columns.figures()} | {*CHECKS}  # read by the headers' names


def carried() -> set[str]:
    """Return the names of a row's values."""
    benchmark = payload.benchmark_payload(board())
    return {*benchmark["columns"], *benchmark["constants"]}


def test_a_benchmarks_table_reads_the_columns_that_there_are() -> None:
    text = script(*TABLE)
    assert carried() - read(text, "row") == GENERIC - {"parameters_total"} - TIMES
    joined = {"timings"}  # to rows by their numbers
    assert read(text, "row") - written(text, "row") - carried() == joined


def test_a_column_by_another_name_would_be_seen() -> None:
    text = script(*TABLE).replace("row.mean", "row.average")
    assert "average" in read(text, "row") - carried() and "mean" in carried() - read(text, "row")


def test_a_benchmarks_page_reads_what_the_board_carries() -> None:
    benchmark = payload.benchmark_payload(board())
    text = script(*TABLE)
    assert read(text, "board") == benchmark.keys()
    headers = read(text, "header") | read(text, "column")
    of_script = {"value", "text", "cell", "title"}  # what columns.js adds
    assert headers - of_script == benchmark["headers"][0].keys()
    assert read(text, "spread") == Spread.model_fields.keys()
    assert benchmark["timings"].keys() == benchmark["noise"].keys()
    for times in benchmark["timings"].values():
        assert times.keys() == {"rows", *TIMES}


def test_columns_that_are_no_figures_are_known_to_the_script() -> None:
    (declared,) = re.findall(r"const special = {\n(.*?)\n  };", script("columns"), re.DOTALL)
    assert re.findall(r"^    (\w+): {", declared, re.MULTILINE) == [
        column.name for column in columns.COLUMNS if column.read is None
    ]


def test_python_and_javascript_know_the_same_formats() -> None:
    (declared,) = re.findall(r"const formats = {\n(.*?)\n  };", script("common"), re.DOTALL)
    assert re.findall(r"^    (\w+): ", declared, re.MULTILINE) == [*render.FORMATS]


def test_curves_and_health_are_read_by_name() -> None:
    (curves,) = {tuple(one) for one in payload.curves(board()).values()}
    text = script("charts")
    (declared,) = re.findall(r"const CURVES = {(.*?)};", text, re.DOTALL)
    assert {*re.findall(r"(\w+): \[", declared)} | {"quality"} == {
        *curves
    } and "curve.quality" in text
    health = payload.health(next(row for row in board().rows if row.health))
    (declared,) = re.findall(r"const CHARTS = {(.*?)};", script("router"))
    assert {*re.findall(r"(\w+): ", declared)} | {"step"} == health.keys()
    assert read(script("router"), "task") == {"step", "name"}


OF_RUN: dict[str, set[str]] = {
    "record": {*RunRecord.model_fields},
    "quality": {*Quality.model_fields},
    "compute": {*Compute.model_fields},
    "timing": {*Timing.model_fields},
    "layer": {*LayerHealth.model_fields},
    "point": {*CurvePoint.model_fields},
}


@pytest.mark.parametrize("variable", OF_RUN)
def test_a_runs_page_reads_what_a_record_holds(variable: str) -> None:
    names = read(script("run"), variable)
    assert names and names <= OF_RUN[variable]


def test_a_runs_page_names_parts_and_columns_of_the_record() -> None:
    text = script("run")
    (parts,) = re.findall(r"const PARTS = (\[.*?\])", text)
    (columns,) = re.findall(r"const PASSES = (\[.*?\])", text)
    assert (
        set(json.loads(parts)) == Split.model_fields.keys()
        and set(json.loads(columns)) <= Compute.model_fields.keys()
    )
    (declared,) = re.findall(r"const HEALTH = {(.*?)};", text)
    assert {*re.findall(r"(\w+): ", declared)} <= CurvePoint.model_fields.keys()


def test_routing_examples_are_read_by_name() -> None:
    text = script("looked")
    assert read(text, "layer") == LayerRouting.model_fields.keys()
    assert read(text, "example") == Example.model_fields.keys()
    assert read(text, "routing") <= Looked.model_fields.keys()
