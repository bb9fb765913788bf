"""`--config-dir` anywhere on the command line, in every command."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from moesuite.completion import candidates
from moesuite.config.cli import flags_first, parse
from moesuite.config.compose import compose, understood
from moesuite.errors import UserError
from moesuite.experiments.benchmark import plan
from moesuite.experiments.sweep import expand
from moesuite.list import ListOptions, entries, run
from moesuite.profile import ProfileOptions
from moesuite.records.store import read_record
from moesuite.tune.arguments import parse_command
from tests.helpers import TINY_RUN, invoke

MINE = """# @package _global_
# My digits.
defaults: [_vision, override /backbone: vit_mini]
task: {name: mine, embedded: digits, num_classes: 10, image_size: 8, channels: 1}
"""
ORDERS = [
    "--config-dir conf task=mine num_experts=3",
    "--config-dir=conf task=mine num_experts=3",
    "task=mine --config-dir conf num_experts=3",
    "task=mine --config-dir=conf num_experts=3",
    "task=mine num_experts=3 --config-dir conf",
    "task=mine num_experts=3 -cd=conf",
    "task=mine -cd conf num_experts=3",
]


@pytest.fixture(autouse=True)
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a task, in the working folder."""
    folder = tmp_path / "conf"
    (folder / "task").mkdir(parents=True)
    (folder / "task" / "mine.yaml").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("line", ORDERS)
def test_every_order_gives_the_same_configuration(line: str) -> None:
    words = understood(line.split())
    assert (
        words == ["--config-dir=conf", "task=mine", "num_experts=3"] and understood(words) == words
    )
    config = compose(*line.split())
    assert config.task["name"] == "mine" and config.num_experts == 3
    assert expand(["-m", *line.split()]) == [words]
    for command in (parse(ProfileOptions, line.split()).run, parse_command(line.split()).words):
        assert list(command[:3]) == ["--config-dir=conf", "task=mine", "num_experts=3"]


def test_other_flags_come_first_too() -> None:
    line = "task=mine --cfg job --config-dir conf -m num_experts=3 -c hydra --help"
    expected = "--cfg=job --config-dir=conf -m --cfg=hydra --help task=mine num_experts=3"
    assert flags_first(line.split()) == expected.split()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("task=mine --config-dir", "--config-dir: expected a value; type for example --config-d"),
        ("task=mine --config-dir= seed=1", "--config-dir=: expected a value"),
        ("--config-dir nowhere task=mine", "--config-dir nowhere: no such folder"),
    ],
)
def test_a_folder_that_is_missing(line: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        compose(*line.split())


def test_a_run_and_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hydra alone reads no option behind `option --config-dir <folder>`."""
    line = ["task=mine", "--config-dir", "conf", *TINY_RUN, "records=runs"]
    assert invoke(monkeypatch, *line) == 0
    (path,) = tmp_path.glob("runs/mine/*/*.json")
    words = shlex.split(read_record(path).command)[3:]
    assert words[:2] == ["--config-dir=conf", "task=mine"]
    capsys.readouterr()
    assert invoke(monkeypatch, *words) == 0
    assert "already recorded" in capsys.readouterr().out
    assert invoke(monkeypatch, "task=mine", "--help", "--config-dir", "conf") == 0
    assert "task.num_classes=10" in capsys.readouterr().out


@pytest.mark.slow
def test_a_benchmark_passes_the_folder_on() -> None:
    for words in (
        ["benchmark=quick", "--config-dir=conf"],
        ["--config-dir=conf", "benchmark=quick"],
    ):
        runs = plan(words)
        assert runs and all("--config-dir=conf" in run.words for run in runs)


def test_lists_and_completion_know_tasks_of_the_folder(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(parse(ListOptions, ["tasks", "--config-dir", "conf"]))
    assert "mine " in capsys.readouterr().out
    assert [each.summary for each in entries("tasks", [conf]) if each.name == "mine"] == [
        "My digits."
    ]
    with pytest.raises(UserError, match="unknown option 'seed=1'"):
        run(parse(ListOptions, ["tasks", "seed=1"]))
    start = ["moesuite", "run", "--config-dir", "conf"]
    assert candidates([*start, "task=mi"]) == ["task=mine"]
    assert "task.num_classes=" in candidates([*start, "task=mine", "task.num"])
    assert candidates([*start[:-1], ""]) == [] and candidates([*start[:2], "--config-dir=c"]) == []
    for verb in ("run", "tune", "profile", "data", "list"):
        assert candidates(["moesuite", verb, "--conf"]) == ["--config-dir"]
