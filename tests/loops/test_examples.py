"""Every example trains: its loss falls, and it prints what it promises."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import timm
import torch

from moesuite.nn.moe import aux_loss, moe_layers
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
PROMISED = {
    "plain_pytorch": "same answers: True",
    "hf_trainer": "auxiliary 0.01",
    "lora_on_experts": "merged differs by",
    "sentence_transformers_training": "padding changes an embedding by",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROMISED)
def test_an_example_trains(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    printed = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"^step \d+: loss ([\d.]+)", printed, re.M)]
    assert len(losses) >= 2 and losses[-1] < 0.95 * losses[0]
    assert PROMISED[name] in printed
    for small in re.findall(r"by (\d\.\de-\d+)$", printed, re.M):
        assert float(small) < 1e-5


def test_a_script_of_timm_makes_the_model_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(EXAMPLES / "timm_script.py"))
    small = {"img_size": 16, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_classes": 3}
    model = timm.create_model("moe_vit_tiny_patch16_224", router="switch", num_experts=2, **small)
    assert len([*moe_layers(model)]) == 1
    model.train()(torch.randn(2, 3, 16, 16)).sum().backward()
    gate = next(layer.router.gate.weight for _, layer in moe_layers(model))
    assert gate.grad is not None and float(gate.grad.abs().sum()) > 0
    assert float(aux_loss(model)) == 0.0  # the layer carried it


def test_the_guide_names_every_example() -> None:
    guide = (ROOT / "docs" / "training-loops.md").read_text(encoding="utf-8")
    named = {Path(path).stem for path in re.findall(r"examples/\w+\.py", guide)}
    assert named == {path.stem for path in EXAMPLES.glob("*.py")} == {*PROMISED, "timm_script"}
