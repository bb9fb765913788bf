"""Models are tried as the stored results say, each in a process that cannot harm the sweep."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moesuite.nn.moe import MoE
from moesuite.support.checks.outcomes import try_upcycle
from moesuite.support.result import Outcome, Report, Result, read, write
from moesuite.support.small.subject import answers_of, build, differences
from moesuite.support.small.timm_models import family
from moesuite.support.trial import attempt
from moesuite.support.workers import run_all
from tests.conftest import ROOT

STORED = read(ROOT / "docs" / "models.json")
HANDFUL = [("timm", "vit"), ("timm", "resnet"), ("hf", "bert"), ("hf", "llama"), ("hf", "mixtral")]


@pytest.mark.parametrize(("library", "name"), HANDFUL)
def test_a_handful_gives_the_stored_result(library: str, name: str) -> None:
    stored = STORED.get(library, name)
    assert stored is not None
    tried = attempt(library, name, stored.model)
    assert (tried.status, tried.upcycle.layers) == (stored.status, stored.upcycle.layers)


@pytest.mark.slow
def test_some_dozens_give_the_stored_results() -> None:
    # on a busy machine some were not done in time
    some = [each for each in STORED.results if "not done" not in each.upcycle.detail][::16]
    trials = [(each.library, each.name, each.model) for each in some]
    tried = {each.name: each.status for each in run_all(trials, 2, 300.0, 6.0)}
    assert tried == {each.name: each.status for each in some}


def test_a_layer_that_answers_otherwise_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = build("hf", "llama")
    right = MoE.forward
    monkeypatch.setattr(MoE, "forward", lambda self, x: 1.01 * right(self, x))
    outcome = try_upcycle(subject)
    assert outcome.status == "wrong" and outcome.detail.startswith("upcycled: ")


def test_a_layer_that_fails_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: MoE, x: torch.Tensor) -> torch.Tensor:
        raise IndexError("off by one")

    monkeypatch.setattr(MoE, "forward", fail)
    outcome = try_upcycle(build("hf", "llama"))
    assert outcome.status == "crash" and "IndexError: off by one" in outcome.detail


def test_weights_show_every_part() -> None:
    """As initialised, an MLP hardly changes the answer; here it does."""
    subject = build("timm", "vit_tiny_patch16_224")
    model = subject.copy()
    torch.nn.init.zeros_(model.blocks[0].mlp.fc1.bias)
    assert differences(answers_of(model, subject.inputs), subject.answers) > 1e-3


@pytest.mark.slow
def test_what_takes_too_long_or_too_much_is_ended() -> None:
    trial = ("hf", "bert", "BertForMaskedLM")
    (late,) = run_all([trial], 1, 0.01, 6.0)
    assert late.upcycle == Outcome(status="unsupported", detail="not done after 0 s")
    (large,) = run_all([trial], 1, 60.0, 0.001)
    assert large.status in ("crash", "unsupported")


def test_results_are_written_and_read(tmp_path: Path) -> None:
    report = Report(versions={"timm": "1"})
    first = Result(library="hf", name="a", model="A", upcycle=Outcome(status="fine", layers=2))
    report.put(first)
    report.put(Result(library="timm", name="a", upcycle=Outcome(status="crash", detail="ü")))
    report.put(first.model_copy(update={"seconds": 1.5}))
    write(report, tmp_path / "new" / "results.json")
    assert read(tmp_path / "new" / "results.json") == report
    assert [each.seconds for each in report.results] == [1.5, 0.0]


def test_families_are_names_before_a_size() -> None:
    names = {
        "vit_tiny_patch16_224": "vit",
        "vit_relpos_small_patch16_224": "vit_relpos",
        "resnet50": "resnet",
        "convnextv2_atto": "convnextv2",
        "swinv2_cr_tiny_224": "swinv2_cr",
        "efficientnet_b0": "efficientnet",
    }
    assert {name: family(name) for name in names} == names
