"""Labels: cached, disjoint splits, and files that are wrong."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from moesuite.errors import UserError
from moesuite.tasks.preferences.backgammon.expert import expert_of
from moesuite.tasks.preferences.backgammon.labels import labelled, read
from moesuite.tasks.preferences.backgammon.positions import (
    decode,
)
from moesuite.tasks.preferences.backgammon.selfplay import Recipe
from tests.tasks.preferences.backgammon.recipes import SMALL


def test_labels_are_cached_and_splits_share_no_board(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = labelled(None, SMALL)
    seen = {
        role: {board.tobytes() for boards, _ in read(rows, role) for board in boards}
        | {board.tobytes() for board in decode(list(rows["position"]))}
        for role, rows in source.splits.items()
    }
    assert not seen["train"] & seen["test"]
    assert (
        source.description.startswith("self-play, train by gnubg-nn ")
        and "0-ply" in source.description
    )
    assert [len(source.splits[role]) for role in ("train", "test")] == [60, 12]
    expert_of.cache_clear()
    monkeypatch.setitem(sys.modules, "gnubg_nn", None)  # not installed: what is cached is enough
    assert labelled(None, SMALL).fingerprint == source.fingerprint
    assert labelled(str(folder), SMALL).fingerprint == source.fingerprint
    with pytest.raises(UserError, match=r'not installed; type pip install -e "\.\[backgammon\]"'):
        labelled(None, Recipe("gnubg-nn", 61, 12, 0, 0, 0.3, 0))
    half_written = [
        path for path in folder.parent.iterdir() if path != folder and path.suffix != ".lock"
    ]
    assert not half_written


def test_the_same_recipe_is_the_same_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = labelled(None, SMALL).fingerprint
    monkeypatch.setenv("MOESUITE_CACHE", str(tmp_path / "again"))
    assert labelled(None, SMALL).fingerprint == first


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda table: table.remove_columns("scores"),
            "has no column 'scores'; its columns: position .* expected a column of lists",
        ),
        (
            lambda table: table.map(lambda row: {"alternatives": ["x", *row["alternatives"][1:]]}),
            "row 0: 'x' is no position",
        ),
        (
            lambda table: table.map(lambda row: {"position": "4HPwATDgc"}),
            "row 0: '4HPwATDgc' is no position id",
        ),
        (lambda table: table.map(lambda row: {"scores": row["scores"][:1]}), "row 0: 1 scores of"),
        (
            lambda table: _with(table, "scores", lambda own: [math.nan, *own[1:]]),
            r"row 0: scores \[nan, .*finite numbers",
        ),
        (
            lambda table: _with(table, "scores", lambda own: [-math.inf, *own[1:]]),
            r"row 0: scores \[-inf, .*finite num",
        ),
        (
            lambda table: _with(table, "scores", lambda own: "0.5, high"),
            r"row 0: scores \[0.5, 'high'\]; expected a list of finite numbers",
        ),
        (
            lambda table: _with(
                table, "position", lambda own: None if own == table["position"][0] else own
            ),
            "row 0: position None; expected a position id",
        ),
        (
            lambda table: _with(table, "scores", lambda own: [None, *own[1:]]),
            r"row 0: scores \[None, .*finite numbers",
        ),
        (
            lambda table: _with(table, "scores", lambda own: list(map(str, own))),
            r"row 0: scores \['.*finite numbers",
        ),
        (
            lambda table: _with(table, "scores", lambda _: 1.0),
            "has a column 'scores' of float64; its columns: .*; expected a column of lists",
        ),
        (
            lambda table: _with(table, "scores", lambda _: None),
            "has a column 'scores' of null; its columns: .*; expected a column of lists",
        ),
        (
            lambda table: _with(table, "position", lambda _: None),
            "has a column 'position' of null; its columns: .*; expected a column of text",
        ),
        (
            lambda table: _with(table, "position", lambda _: 3),
            "has a column 'position' of int64; its columns: .*; expected a column of text",
        ),
        (
            lambda table: _with(table, "alternatives", lambda own: own[0]),
            r"row 0: \d+ scores of 1 alternatives; expected one for each",
        ),
        (
            lambda table: _with(table, "alternatives", lambda own: [None, *own[1:]]),
            r"alternatives \[None, .*of position",
        ),
    ],
)
def test_files_that_are_wrong(
    change: Callable[[Any], Any], says: str, folder: Path, tmp_path: Path
) -> None:
    for role in ("train", "test"):
        table = datasets.load_dataset(
            "parquet", data_files=str(folder / f"{role}.parquet"), split="train"
        )
        (tmp_path / "own").mkdir(exist_ok=True)
        change(table).to_parquet(str(tmp_path / "own" / f"{role}.parquet"))
    with pytest.raises(UserError, match=says):
        source = labelled(str(tmp_path / "own"), SMALL)
        read(source.splits["train"], "here")


@pytest.mark.parametrize("ending", ["jsonl", "csv", "tsv", "parquet"])
def test_labels_of_ones_own_need_no_dice(ending: str, folder: Path, tmp_path: Path) -> None:
    """A list in a cell of CSV and TSV is JSON."""
    write: dict[str, Callable[[Any, str], Any]] = {
        "parquet": lambda table, path: table.to_parquet(path),
        "jsonl": lambda table, path: table.to_json(path),
        "csv": lambda table, path: _with_text(table).to_csv(path),
        "tsv": lambda table, path: _with_text(table).to_csv(path, sep="\t"),
    }
    source = labelled(None, SMALL)
    own = tmp_path / "own"  # not the folder of the cache
    own.mkdir()
    for role, rows in source.splits.items():
        write[ending](rows.remove_columns("dice"), str(own / f"{role}.{ending}"))
    again = labelled(str(own), SMALL)
    assert again.description == f"{ending} files of own"
    for role, rows in source.splits.items():
        pairs = zip(read(again.splits[role], "here"), read(rows, "there"), strict=True)
        for (boards, scores), (same_boards, same_scores) in pairs:
            assert (boards == same_boards).all() and scores == pytest.approx(same_scores)


def _with_text(table: datasets.Dataset) -> datasets.Dataset:
    lists = ("alternatives", "scores")
    return datasets.Dataset.from_dict(
        {**table.to_dict(), **{name: list(map(json.dumps, table[name])) for name in lists}}
    )


def _with(table: datasets.Dataset, column: str, change: Callable[[Any], Any]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        {**table.to_dict(), column: [change(own) for own in table[column]]}
    )


@pytest.mark.parametrize("cell", [str, lambda values: " ".join(map(str, values))])
def test_lists_in_text_as_python_prints_them_or_with_spaces(
    cell: Callable[[list[Any]], str], folder: Path, tmp_path: Path
) -> None:
    source = labelled(None, SMALL)
    own = tmp_path / "own"
    own.mkdir()
    for role, name in (("train", "Training"), ("test", "eval")):
        rows = source.splits[role].rename_column("position", "Position")
        for column in ("alternatives", "scores"):
            rows = _with(rows, column, cell)
        rows.to_csv(str(own / f"{name}.csv"))
    again = labelled(str(own), SMALL)
    assert again.notes[-1] == "column Position read as position"
    for role, rows in source.splits.items():
        pairs = zip(read(again.splits[role], "here"), read(rows, "there"), strict=True)
        for (boards, scores), (same_boards, same_scores) in pairs:
            assert (boards == same_boards).all() and scores == pytest.approx(same_scores)


def test_what_is_no_table_of_positions_is_told(tmp_path: Path) -> None:
    (tmp_path / "match.sgf").write_text("(;GM[6])", encoding="utf-8")
    with pytest.raises(
        UserError,
        match=r"expected labelled positions of backgammon in tables .*; it holds 1 .sgf \(match",
    ):
        labelled(str(tmp_path), SMALL)


def test_a_pass_is_no_choice(folder: Path) -> None:
    rows = labelled(None, SMALL).splits["test"]
    without = rows.map(
        lambda row, i: {"alternatives": [], "scores": []} if i == 0 else row, with_indices=True
    )
    assert len(read(without, "here")) == len(read(rows, "here")) - 1
    assert read(rows.select([]), "here") == []
