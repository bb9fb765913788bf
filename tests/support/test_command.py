"""`python -m moesuite.support`: what it prints, keeps and refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from moesuite.support import __main__ as command
from moesuite.support.checks import outcomes
from moesuite.support.page import page
from moesuite.support.result import Outcome, Report, Result, installed, read, write
from moesuite.support.small.subject import build
from moesuite.support.workers import Trial
from tests.helpers import exit_code

MODELS = {
    "timm": {"vit": "vit_tiny_patch16_224", "resnet": "resnet10t"},
    "hf": {"bert": "BertForMaskedLM"},
}


class Tried(list[str]):
    """Stands in for the processes: every model is fine but ResNet."""

    def __call__(self, trials: Sequence[Trial], *limits: float) -> Iterator[Result]:
        for library, name, model in trials:
            self.append(name)
            why = "ResNet has no MLP that can become an MoE layer"
            refused = Outcome(status="refused", detail=why)
            outcome = refused if name == "resnet" else Outcome(status="fine", layers=2)
            yield Result(library=library, name=name, model=model, upcycle=outcome)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Tried:
    stub = Tried()
    monkeypatch.setattr(command, "run_all", stub)
    monkeypatch.setattr("moesuite.support.trial.names", MODELS.__getitem__)
    return stub


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    return exit_code(monkeypatch, command.main, *words)


def test_it_goes_on_where_it_was_interrupted(
    tried: Tried,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "library=timm", "only=vit_tiny_patch16_224") == 0
    assert tried == ["vit"]
    assert run(monkeypatch, "docs=models.md") == 0
    assert tried == ["vit", "resnet", "bert"]
    assert capsys.readouterr().out.splitlines()[-2:] == ["timm: 1 fine, 1 refused", "hf: 1 fine"]
    report = read(Path("support.json"))
    assert report.versions == installed() and len(report.results) == 3
    assert Path("models.md").read_text(encoding="utf-8") == page(report)
    assert run(monkeypatch, "only=bert", "format=json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "bert" and row["upcycle"] == {"status": "fine", "layers": 2}


def test_faults_are_in_the_exit_code(
    tried: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Result(library="hf", name="bert", upcycle=Outcome(status="wrong", detail="by 2"))
    write(Report(versions=installed(), results=[faulty]), tmp_path / "support.json")
    assert run(monkeypatch, "only=bert", f"results={tmp_path / 'support.json'}") == 1
    assert tried == []


def test_results_of_other_versions_are_refused(
    tried: Tried,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(Report(versions={"timm": "0.1"}), tmp_path / "old.json")
    assert run(monkeypatch, f"results={tmp_path / 'old.json'}") == 2
    assert "holds results of timm 0.1, installed are timm" in capsys.readouterr().err
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    assert run(monkeypatch, f"results={tmp_path / 'broken.json'}") == 2
    assert "not a file of results" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    for word, says in {
        "results=/proc/none/x.json": "results=/proc/none/x.json cannot be written",
        "docs=/proc/none/x.md": "docs=/proc/none/x.md cannot be written",
        "results=list.json": "list.json",
        "memory_gb=0.01": "memory_gb=0.01",
        "limit_s=0": "limit_s=0",
    }.items():
        assert run(monkeypatch, word) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    assert tried == []


def test_unknown_models_are_refused(
    tried: Tried, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "only=bret") == 2
    assert "unknown model 'bret'; nearest: bert" in capsys.readouterr().err


def test_a_trial_beyond_its_memory_says_nothing_of_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 GB")

    monkeypatch.setattr(outcomes, "upcycle", fail)
    outcome = outcomes.try_upcycle(build("timm", "vit_tiny_patch16_224"))
    assert (outcome.status, outcome.detail) == ("unsupported", "needs more than memory_gb=")
