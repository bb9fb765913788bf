"""What the README shows is what the project does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from moesuite import Router, compose
from moesuite.certify.properties import PROPERTIES
from moesuite.config.cli import parse
from moesuite.experiments.benchmark import plan
from moesuite.experiments.launchers import parse_launcher
from moesuite.leaderboard.__main__ import LeaderboardOptions
from moesuite.routers import router_class
from moesuite.testing import RouterContract
from moesuite.tune.arguments import commands_by_router, parse_command
from moesuite.tune.worker import plan_study
from moesuite.verify.__main__ import VerifyOptions
from tests.conftest import ROOT
from tests.helpers import SHORT, invoke

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = {
    language: re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    for language in ("bash", "text", "python")
}


@pytest.fixture
def my_file(tmp_path: Path) -> str:
    """Return the path of the README's router, in a file of its own."""
    (tmp_path / "my_file.py").write_text(BLOCKS["python"][4], encoding="utf-8")
    return str(tmp_path / "my_file.py")


def test_exactly_two_commands_set_it_up() -> None:
    assert [len(block.strip().splitlines()) for block in BLOCKS["bash"]] == [1, 1]


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_the_python_examples_run(number: int) -> None:
    exec(compile(BLOCKS["python"][number], "README.md", "exec"), {})


def test_the_router_is_one_file_of_at_most_40_lines_that_keeps_the_contract(my_file: str) -> None:
    assert len(BLOCKS["python"][4].splitlines()) <= 40
    cls = router_class(f"{my_file}:MyRouter")
    assert issubclass(cls, Router)
    case = type("Case", (RouterContract,), {"router": cls})()
    for prop in PROPERTIES:
        case.test_keeps_what_its_certificate_claims(prop)
    case.test_fast_path_equals_the_dense_tensors(True, torch.float32)


def test_the_router_trains_from_the_command_line(
    my_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, "router=my_file:MyRouter", "router.temperature=0.5", *SHORT) == 0
    assert invoke(monkeypatch, "router=my_file:MyRouter", "router.temperature=0", *SHORT) == 2
    assert len(list((tmp_path / "runs" / "digits" / "MyRouter").glob("*.json"))) == 1


@pytest.mark.slow
def test_every_command_has_options_that_exist(
    my_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(my_file).parent)
    lines = [shlex.split(line) for block in BLOCKS["text"] for line in block.splitlines()]
    runs = [words[3:] for words in lines if words[:3] == ["python", "-m", "moesuite.run"]]
    assert len(runs) >= 4
    for words in runs:
        if words[0].startswith("benchmark="):
            assert plan(parse_launcher(words)[1])
        elif "-m" not in words:  # a sweep is run by tests/train/test_run.py
            assert compose(*[word for word in words if not word.startswith("-")]).router["name"]
    for words in (words[3:] for words in lines if words[:3] == ["python", "-m", "moesuite.tune"]):
        assert plan_study(commands_by_router(parse_command(words))[0])[0].space
    for words in (
        words[3:] for words in lines if words[:3] == ["python", "-m", "moesuite.leaderboard"]
    ):
        assert parse(LeaderboardOptions, words).records
    for words in (words[3:] for words in lines if words[:3] == ["python", "-m", "moesuite.verify"]):
        options = parse(VerifyOptions, words)
        assert options.records == [Path("runs/digits/token_choice/0123456789ab.json")]
        assert options.seeds == [1, 2]
