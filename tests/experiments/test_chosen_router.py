"""Grids that leave their router to the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.errors import UserError
from moesuite.experiments.benchmark import plan

ONE = """parts:
  - {task: digits, routers: [chosen], seeds: [0, 1]}
  - {task: digits, routers: [dense], seeds: [0, 1], words: [a=1]}
"""


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(ONE, encoding="utf-8")
    monkeypatch.setattr("moesuite.experiments.benchmark.benchmark_files", lambda: {"mine": path})


def test_a_grid_for_one_router_of_the_command_line() -> None:
    runs = plan(["benchmark=mine", "router=token_choice", "router.k=2", "records=here"])
    assert [run.words for run in runs[:2]] == [
        ["task=digits", "router=token_choice", "router.k=2", "seed=0", "records=here"],
        ["task=digits", "router=dense", "seed=0", "a=1", "records=here"],
    ]
    assert [run.seed for run in runs] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "benchmark=mine is for one router, here are 0; type for example benchmark=mine rout"),
        (["router=soft", "router=switch"], "for one router, here are 2"),
        (["router=sfot"], "unknown router 'sfot'; nearest: "),
        (["router=nowhere.py:Mine"], "nowhere"),
    ],
)
def test_a_grid_for_one_router_refuses_none_and_unknown_ones(words: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        plan(["benchmark=mine", *words])
