"""CSV and TSV as programs write them: quotes and headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.sources.tables import read_tables


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        # a first line with a number is a row, as in the files of AG News
        (
            "a.csv",
            '3,"Wall St., up"\n1,Down\n',
            {"column1": [3, 1], "column2": ["Wall St., up", "Down"]},
        ),
        # pandas' own header of unnamed columns
        ("b.csv", "0,1\nx,2\n", {"0": ["x"], "1": [2]}),
        # quotes that are not around the whole cell are characters
        ("c.tsv", 'a\tb\n"Yes," he said\tno\n', {"a": ['"Yes," he said'], "b": ["no"]}),
        ("d.tsv", 'a\tb\n"Yes, ""he"" said"\tno\n', {"a": ['Yes, "he" said'], "b": ["no"]}),
        ("e.tsv", 'a\tb\n"one\ttab"\tno\n', {"a": ["one\ttab"], "b": ["no"]}),
    ],
)
def test_rows(name: str, text: str, rows: dict[str, list[object]], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_tables([tmp_path / name], f"{tmp_path}").to_dict() == rows
