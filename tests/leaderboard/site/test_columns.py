"""A column is declared once, and stands in payload, CSV, header, tooltip and on the method page."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from moesuite.leaderboard import columns
from moesuite.leaderboard.columns.column import Column
from moesuite.leaderboard.site import exports, payload
from moesuite.leaderboard.site.build import build
from moesuite.leaderboard.site.render import cell
from moesuite.records.record import RunRecord
from tests.leaderboard.boards import boards_of, put
from tests.leaderboard.records import record_of
from tests.leaderboard.visits import cells, visit


def waited(record: RunRecord) -> float:
    return record.waited


@pytest.fixture
def further(monkeypatch: pytest.MonkeyPatch) -> Column:
    """Return a column that is no part of the package, added to the table of columns."""
    column = Column("waited", "waiting", "time of waiting for data", waited, unit="s", axis=True)
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, column))
    return column


def records() -> list[RunRecord]:
    """Return two seeds that waited 1 and 2 seconds: 1.5 in the mean."""
    return [record_of("good", seed, waited=1.0 + seed) for seed in range(2)]


def test_a_further_column_needs_no_other_file(further: Column) -> None:
    (board,) = boards_of(records())
    (row,) = board.rows
    assert row.figures["waited"] == 1.5 and cell(further, row.figures) == "1.5"
    (line,) = csv.DictReader(io.StringIO(exports.csv_of(board)))
    assert line["waited"] == "1.5"
    assert json.loads(board.model_dump_json())["rows"][0]["figures"]["waited"] == 1.5
    carried = payload.benchmark_payload(board)
    assert carried["constants"]["waited"] == 1.5
    (header,) = [one for one in carried["headers"] if one["name"] == "waited"]
    assert header["label"] == "waiting (s)" and header["about"] == "time of waiting for data"


@pytest.mark.usefixtures("further")
def test_a_further_column_stands_on_the_pages(page: Any, tmp_path: Path) -> None:
    put(tmp_path / "runs", records())
    build([str(tmp_path / "runs")], tmp_path / "site")
    assert "<dt>waiting (s)</dt>" in (tmp_path / "site" / "method.html").read_text(encoding="utf-8")
    browser = visit(page, tmp_path / "site", "tasks/mine.html")
    assert cells(browser)["good"]["waited"] == "1.5"
    button = browser.locator("[data-column=waited]")
    assert button.text_content() == "waiting (s)"
    assert button.get_attribute("title").startswith("time of waiting for data. Sort")
    browser.select_option("#axis", "waited")
    assert "waiting (s) 1.5" in browser.get_attribute("#plot a", "aria-label")


def test_the_table_of_columns_is_consistent() -> None:
    counts = Counter(column.name for column in columns.COLUMNS)
    assert set(counts.values()) == {1}
    figures = {column.name for column in columns.figures()}
    for column in columns.COLUMNS:
        assert column.meaning and not column.meaning.endswith(".")
        assert {column.over, column.bounded_by} - {""} <= figures
        assert column.read or not (column.axis or column.per_machine or column.on_router_page)


def test_figures_without_compute_or_health_are_none() -> None:
    record = record_of("dense", 0, compute=None)
    values = {column.name: column.read(record) for column in columns.figures() if column.read}
    assert values.pop("seconds") == 12.5
    assert set(values.values()) == {None}
