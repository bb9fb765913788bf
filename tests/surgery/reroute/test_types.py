"""Every model type with MoE layers: under its own rule it stays as it is, or it is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from moesuite import UserError, load_moe, reroute, save_moe
from moesuite.models.example_inputs import random_example
from moesuite.models.moe_blocks.blocks import moe_reason
from moesuite.nn.moe import moe_layers
from tests.conftest import ROOT
from tests.surgery.reroute.moe_types import TYPES, build

REFUSED = {
    "axk1": "its gate and experts stand among other parts: post_mlp_layernorm",
    "deepseek_v4": "DeepseekV4SparseMoeBlock: its gate also takes input_ids.*layers.1.mlp",
    "diffusion_gemma": "its gate and experts stand among other parts: self_attn, mlp",
    "doge": "DogeCDMoE: it has no modules `gate` or `router`, and `experts`",
    "gemma4": "its gate and experts stand among other parts: self_attn, mlp",
    "inkling": "its gate has more weights: global_scale",
    "jetmoe": "JetMoeMoE: it has no modules `gate` or `router`, and `experts`",
    "llama4": "its gate does not return logits, weights and experts",
    "longcat_flash": "256 of its experts have no weights",
    "muse_spark": "its gate and experts stand among other parts: pre_expert_proj",
    "nllb_moe": "its experts are of several kinds",
    "zaya": "its gate is no linear layer",
}
READ = [kind for kind in TYPES if kind not in REFUSED]
# transformers renames their gates in a folder in a way that does not fit ours
RENAMED = ("mistral_large4", "phimoe")
CHEAP = ("gpt_oss", "minimax_m2", "switch_transformers")


def some_in_default(kinds: list[str]) -> list[Any]:
    return [pytest.param(kind, marks=[] if kind in CHEAP else [pytest.mark.slow]) for kind in kinds]


def output(model: Any) -> Tensor:
    result: Tensor = model(**random_example(model))[0]
    return result


@pytest.mark.parametrize("kind", some_in_default(READ))
def test_the_own_rule_keeps_outputs_and_gradients(kind: str) -> None:
    model = build(kind)
    expected = output(model)
    expected.square().mean().backward()
    gradients = {id(value): value.grad for value in model.parameters() if value.grad is not None}
    model.zero_grad()
    assert "type moesuite.reroute(model)" in str(moe_reason(model))
    _, rows = reroute(model, "own")
    again = output(model)
    again.square().mean().backward()
    torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    largest = max(grad.abs().max().item() for grad in gradients.values())
    for name, value in model.named_parameters():
        if id(value) in gradients:
            assert value.grad is not None, name
            error = (value.grad - gradients[id(value)]).abs().max().item()
            assert error <= 1e-4 * largest, name
    assert rows and len(rows) == sum(1 for _ in moe_layers(model))
    assert all(row.identity <= 1e-6 * row.scale and row.kept == 1 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("kind", READ)
def test_it_comes_back(kind: str, tmp_path: Path) -> None:
    model, _ = reroute(build(kind), "token_choice")
    expected = output(model)
    path = tmp_path / ("model.pt" if kind in RENAMED else "model")
    save_moe(model, path)
    torch.testing.assert_close(output(load_moe(path, model=build(kind))), expected)


@pytest.mark.parametrize("kind", some_in_default([*REFUSED]))
def test_what_is_missing_is_said_in_one_line(kind: str) -> None:
    model = build(kind)
    with pytest.raises(UserError, match=REFUSED[kind]) as refused:
        reroute(model)
    assert "\n" not in str(refused.value) and not list(moe_layers(model))
    reason = str(moe_reason(model))
    assert reason.startswith("it is a mixture of experts already")
    if kind != "deepseek_v4":  # one of its layers can be rerouted
        assert "which moesuite.reroute cannot read" in reason


def test_the_guide_lists_what_is_read_and_what_is_refused() -> None:
    text = (ROOT / "docs" / "rerouting.md").read_text(encoding="utf-8")
    listed = text.split("of transformers 5.24:")[1].split("Text parts of multimodal types")[0]
    assert re.findall(r"`(\w+)`", listed) == READ
    rows = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    refused = re.findall(r"`(\w+)`", " ".join(rows))
    # DBRX, Ernie 4.5 VL and ViTPose are not built here
    assert {*refused} - {"dbrx", "ernie4_5_vl_moe", "vitpose_backbone"} == {*REFUSED}
