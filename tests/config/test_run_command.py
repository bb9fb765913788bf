"""The recorded command of a run makes the same run again, however it was started."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from moesuite import compose, fit
from moesuite.config.options import word
from moesuite.config.run_command import command_of
from moesuite.config.schema import RunConfig
from moesuite.errors import RunFailed
from moesuite.records.store import read_record
from moesuite.tune.arguments import parse_command
from moesuite.tune.worker import search
from tests.helpers import MY_ROUTER, TINY_RUN, invoke

TEXT = st.text(
    alphabet=st.characters(min_codepoint=32, max_codepoint=0x3000, exclude_categories=("Cs",))
)
TRICKY = st.text(alphabet="'\\\"${}ab ,=[]():#~+-.0e1")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | TRICKY,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "b_1", "k"]), inner),
)
MY_TASK = (
    "# @package _global_\ndefaults: [_vision]\ntask: "
    "{name: mine, embedded: digits, image_size: 8, channels: 1, "
    "recipe: {epochs: 3}}\n"
)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return getattr(value, "text", value)  # a quoted string


@settings(max_examples=150, deadline=None)
@example("MTEB(eng, v2)")
@example("it's a \\'x\\")
@example("a\\${seed}")
@example("1e3")
@example("Null")
@example({"name": "token_choice", "k": [2, None]})
@given(VALUES)
def test_every_value_is_read_back(value: Any) -> None:
    parsed = _plain(OverridesParser.create().parse_override(f"x={word(value)}").value())
    read = OmegaConf.to_container(OmegaConf.create({"x": parsed}), resolve=True)
    assert isinstance(read, dict) and read["x"] == value and type(read["x"]) is type(value)


def _changed() -> RunConfig:
    stdlib = compose("task=stdlib", "router=switch", "backbone=llama_mini")
    return stdlib.model_copy(
        update={"seed": 3, "layers": [0, "it's, here"], "init": "a folder/${x}.ckpt"}
    )


def _of_another_task() -> RunConfig:
    digits = compose()
    own = {key: value for key, value in digits.task.items() if key != "licence"}
    return digits.model_copy(
        update={"task": {**own, "name": "mine", "recipe": {"epochs": 3}, "extra": [1, "a b"]}}
    )


def _validated() -> RunConfig:
    return RunConfig.model_validate(
        compose().model_dump() | {"backbone": {"name": "own", "model": "mlp:relu"}}
    )


CONFIGS: dict[str, Callable[[], RunConfig]] = {
    "words": partial(compose, "router=soft", "seed=1", "num_experts=16", "trainer.max_epochs=0"),
    "other choices": partial(
        compose, "task=mteb", "task.names=MTEB(eng, v2)", "logger=none", "optim.lr=3e-4"
    ),
    "a dictionary": partial(
        compose, "decoder={name:token_choice,k:2}", "layers=[0,'blocks.1.mlp']"
    ),
    "a pretrained model": partial(compose, "upcycle=timm:vit_tiny_patch16_224"),
    "a set of a benchmark": partial(compose, "task=superglue", "task.subset=boolq", "router=soft"),
    "changed": _changed,
    "of another task": _of_another_task,
    "validated": _validated,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_made_in_python_has_a_command(name: str) -> None:
    config = CONFIGS[name]()
    words = shlex.split(command_of(config))
    assert words[:3] == ["python", "-m", "moesuite.run"]
    assert compose(*words[3:]).model_dump() == config.model_dump()


def test_commands_hold_only_overrides_of_defaults() -> None:
    assert command_of(compose()) == "python -m moesuite.run"
    assert (
        command_of(compose("seed=1", "router=soft")) == "python -m moesuite.run router=soft seed=1"
    )
    words = ["task=stdlib", "router=switch", "backbone=llama_mini", "router.jitter=0.02"]
    assert set(shlex.split(command_of(compose(*words)))[3:]) == set(words)


def _records(folder: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for path in folder.glob("runs/*/*/*.json")
        if path.parts[-3] != "studies"
    }


def _again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """Run the command of every record: it says that this run is recorded. Return the commands."""
    before = _records(folder)
    commands = [read_record(path).command for path in before]
    for command in commands:
        capsys.readouterr()
        assert invoke(monkeypatch, *shlex.split(command)[3:]) == 0, command
        assert "already recorded on 20" in capsys.readouterr().out, command
    assert _records(folder) == before
    return commands


@pytest.mark.slow
def test_commands_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In Python; typed with a folder of own tasks, and a router of a file; in a sweep."""
    monkeypatch.chdir(tmp_path)
    Path("my conf/task").mkdir(parents=True)
    Path("my conf/task/mine.yaml").write_text(MY_TASK, encoding="utf-8")
    Path("my_file.py").write_text(MY_ROUTER, encoding="utf-8")
    fit(compose("router=soft", "seed=1", *TINY_RUN))
    fit(compose("--config-dir=my conf", "task=mine", *TINY_RUN))
    assert invoke(monkeypatch, "--config-dir", "my conf", "task=mine", "seed=4", *TINY_RUN) == 0
    assert invoke(monkeypatch, "router=my_file.py:MyRouter", "router.gain=0.5", *TINY_RUN) == 0
    assert (
        invoke(
            monkeypatch,
            "-m",
            "--config-dir",
            "my conf",
            "task=mine",
            "router=dense",
            "seed=5,6",
            *TINY_RUN,
        )
        == 0
    )
    assert len(_again(tmp_path, monkeypatch, capsys)) == 6


@pytest.mark.slow
def test_commands_of_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its trials, and its winner on a fresh seed."""
    monkeypatch.chdir(tmp_path)
    search(
        parse_command(
            [*TINY_RUN, "router=soft", "tune=slots", "study=of mine, 1", "trials=2", "winner=1"]
        )
    )
    assert len(_again(tmp_path, monkeypatch, capsys)) == 3


@pytest.mark.slow
def test_commands_of_a_benchmark_that_upcycles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(
        "parts:\n  - {task: digits, routers: [dense], name: start,\n"
        f"     words: {[*TINY_RUN, 'optim.schedule=constant']}}}\n"
        "  - {task: digits, routers: [switch], upcycles: start,\n"
        f"     words: {[*TINY_RUN, 'optim.schedule=constant', 'trainer.max_steps=4']}}}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("moesuite.experiments.benchmark.benchmark_files", lambda: {"mine": path})
    assert invoke(monkeypatch, "benchmark=mine", "records=runs") == 0
    assert sum("upcycle=" in command for command in _again(tmp_path, monkeypatch, capsys)) == 1


@pytest.mark.slow
def test_commands_of_failed_and_interrupted_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_file.py").write_text(MY_ROUTER, encoding="utf-8")
    with pytest.raises(RunFailed):
        fit(compose("router=my_file.py:MyRouter", "router.gain=1e38", *TINY_RUN))
    (failed,) = _records(tmp_path)
    assert invoke(monkeypatch, *shlex.split(read_record(failed).command)[3:]) == 2
    assert _records(tmp_path).keys() == {failed} and read_record(failed).status == "failed"

    def interrupt(step: int, quality: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(compose("router=soft", *TINY_RUN, "trainer.max_steps=6"), watch=interrupt)
    (interrupted,) = _records(tmp_path).keys() - {failed}
    assert read_record(interrupted).status == "interrupted"
    assert invoke(monkeypatch, *shlex.split(read_record(interrupted).command)[3:]) == 0
    assert (
        _records(tmp_path).keys() == {failed, interrupted}
        and read_record(interrupted).status == "ok"
    )
