"""The MLP of tokens that are vectors: what it computes, costs, and that it is saved like others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from moesuite import UserError, compose, fit, load_moe, moefy, save_moe
from moesuite.models.backbones import build_backbone
from moesuite.models.candidates import candidates

RUN = ("task=planted_experts", "task.train=32", "task.val=8", "task.test=8")
QUIET = ("measure=false", "logger=none", "trainer.enable_progress_bar=false")


def tokens() -> Tensor:
    return torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))


def network(**kwargs: int | bool) -> torch.nn.Module:
    return build_backbone("token_mlp:relu", False, 0, {"width": 4}, {"hidden": 3, **kwargs})


@pytest.mark.parametrize("residual", [False, True])
def test_mlps_follow_one_another(residual: bool) -> None:
    model, x = network(depth=2, residual=residual), tokens()
    y = x
    for layer in model.layers:  # type: ignore[union-attr]
        mlp = layer.fc2(torch.relu(layer.fc1(y)))
        y = y + mlp if residual else mlp
    torch.testing.assert_close(model(x), y)
    assert [each.name for each in candidates(model)] == ["layers.0", "layers.1"]


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    model = moefy(network(depth=2), "soft", 2, layers="all", example=tokens()).eval()
    for path in (tmp_path / "folder", tmp_path / "model.pt"):
        save_moe(model, path, example=tokens())
        torch.testing.assert_close(load_moe(path)(tokens()), model(tokens()))


def test_a_run_is_accounted_and_its_checkpoint_loads(tmp_path: Path) -> None:
    """By hand, of a token that is sent to 1 of 8 experts.

    In and out are 2 · 16 · 32 = 1,024 multiply-adds of 2 FLOPs, the gate's 128, for 64 tokens each.
    """
    record, path = fit(compose(*RUN, *QUIET, f"records={tmp_path}"))
    activated = record.compute.activated  # type: ignore[union-attr]
    assert (activated.experts, activated.router) == (2 * 64 * 1024, 2 * 64 * 128)
    assert activated.backbone == 0
    training = record.compute.training  # type: ignore[union-attr]
    assert training.backbone == 0  # full slots and empty ones are three times the forward pass
    assert training.experts + training.padding == 3 * activated.experts
    model = load_moe(path.with_suffix("") / "last.ckpt")
    assert model(torch.zeros(1, 64, 16)).shape == (1, 64, 16)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["task=planted_experts", "backbone=vit_mini"],
            r"expected token_mlp:<activation>, e\.g\. b",
        ),
        (
            ["task=planted_experts", "backbone=gpt_mini"],
            r"expected token_mlp:<activation>, e\.g\. b",
        ),
        (["task=digits", "backbone=token_mlp"], "does not fit this task; expected timm:<name>"),
        ([*RUN, "backbone.model=token_mlp:rely"], "nearest: relu|all: gelu"),
        ([*RUN, "backbone.pretrained=true"], r"type backbone\.pretrained=false"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        fit(compose(*words, *QUIET, f"records={tmp_path}"))
    assert not list(tmp_path.rglob("*.json"))
