"""Options of upcycling, adapters, and names that lead nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from moesuite import (
    UserError,
    upcycle,
)
from moesuite.nn.moe import moe_layers
from tests.surgery.dense_models import FeedForward, build, take_apart


def test_an_adapter_for_a_custom_mlp() -> None:
    model, x = nn.Sequential(FeedForward(), FeedForward()), torch.randn(3, 5, 6)
    with pytest.raises(
        UserError, match=r"FeedForward at 0 computes .* adapter=<function that takes such a module"
    ):
        upcycle(model, example=x)
    _, receipt = upcycle(
        model, "switch", 4, layers="all", example=x, adapter=take_apart, renormalise=True
    )
    assert [row.layer for row in receipt.layers] == ["0", "1"]
    assert all(row.difference <= 1e-5 * row.scale for row in receipt.layers)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"router_std": -1.0}, "router_std=-1.0: expected 0 or more"),
        ({"expert_noise": -0.1}, "expert_noise=-0.1: expected 0 or more"),
        (
            {"slots_per_token": 9.0, "num_experts": 4},
            "slots_per_token=9.0: expected more than 0 and at most",
        ),
        ({"layers": "evry_other"}, "nearest: every_other"),
        ({"router": "token_choice", "num_experts": 2, "k": 3}, "router.k=3"),
    ],
)
def test_bad_options_leave_the_model_as_it_was(options: dict[str, Any], says: str) -> None:
    model = build("vit")
    with pytest.raises(UserError, match=says):
        upcycle(model, **options)
    assert not list(moe_layers(model))


def test_a_router_that_needs_a_size_that_text_does_not_have() -> None:
    with pytest.raises(
        UserError,
        match=r"router=soft: expected a number of slots.*router.slots_per_expert=1",
    ):
        upcycle(build("gpt2"), "soft")
    _, receipt = upcycle(build("gpt2"), "soft", 4, slots_per_expert=2)
    assert len(receipt.layers) == 1


def test_a_model_of_unknown_inputs_needs_an_example() -> None:
    with pytest.raises(UserError, match="Sequential: its inputs are not known, .*type example="):
        upcycle(nn.Sequential(timm.layers.Mlp(6, 8)), num_experts=2)
    # its window does not fit the size in its `pretrained_cfg`, and no other is recorded
    model: Any = timm.create_model("coat_lite_tiny", img_size=64)
    del model._model_args
    with pytest.raises(UserError, match=r"CoaT cannot be called with .*\(224\).*type example="):
        upcycle(model, num_experts=2)
    _, receipt = upcycle(model, num_experts=2, example=torch.zeros(1, 3, 64, 64))
    assert len(receipt.layers) == 4


@pytest.mark.parametrize("name", ["t5", "bert", "qwen3"])
def test_a_saved_model_by_its_folder(name: str, tmp_path: Path) -> None:
    dense = build(name)
    dense.save_pretrained(tmp_path)  # type: ignore[operator]
    model, receipt = upcycle(f"hf:{tmp_path}", "hash", num_experts=2, layers=[0])
    assert type(model) is type(dense) and not model.training
    kept = {key: value for key, value in model.state_dict().items() if key in dense.state_dict()}
    assert len(kept) > 10 and all(
        torch.equal(dense.state_dict()[key], value) for key, value in kept.items()
    )
    assert receipt.layers[0].difference <= 1e-5 * receipt.layers[0].scale


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "hf:./nowhere",
            r"hf:./nowhere: pretrained weights cannot be loaded \(.*expected a local folder",
        ),
        ("timm:vit_tiny_patch16_225", "nearest: timm:vit_tiny"),
        ("keras:vit", "unknown library 'keras'; expected timm:<name>, hf:<folder or hub id>"),
    ],
)
def test_names_that_lead_nowhere(name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=says):
        upcycle(name)
