"""The cost of a configuration without training, from the command line and from Python."""

from __future__ import annotations

import json

import pytest

from moesuite import compose
from moesuite.profile import main, profile
from tests.helpers import exit_code, long_except


def invoke(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    return exit_code(monkeypatch, main, *words)


@pytest.mark.slow
def test_soft_vit_by_hand() -> None:
    """128 experts of one slot in 6 of 12 blocks, 197 tokens, width 768: what differs from dense."""
    model, dense = profile(
        compose("task=imagenet", "backbone=vit_b16", "router=soft", "num_experts=128")
    )
    mlp, einsum = (
        4 * 768 * 3072,
        2 * 197 * 256 * 768,
    )  # a row of an MLP; a product of tokens and slots
    apart = model.forward.executed.total - dense.forward.executed.total
    # ceil(197 / 128) = 2 slots an expert: 256 rows for 197, and three products of tokens and slots
    assert apart == 6 * ((256 - 197) * mlp + 3 * einsum)
    size = 2 * 768 * 3072 + 3072 + 768
    assert model.parameters_total - dense.parameters_total == 6 * (127 * size + 768 * 256 + 1)
    assert [layer.name for layer in model.layers] == [
        f"blocks.{index}.mlp" for index in range(6, 12)
    ]


@pytest.mark.parametrize(
    "backbone", long_except(["convnext_ti", "mixer_s16", "swin_ti", "vit_mini"], "vit_mini")
)
def test_every_family_is_accounted_without_memory(backbone: str) -> None:
    words = ["task=digits"] if backbone == "vit_mini" else ["task=imagenet"]
    model, dense = profile(compose(*words, f"backbone={backbone}", "router=usmoe", "num_experts=4"))
    assert model.forward.activated.total == pytest.approx(dense.forward.activated.total, rel=0.02)
    assert (
        model.parameters_total > 1.5 * dense.parameters_total
        and model.layers
        and not model.uncounted
    )


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(monkeypatch, "backbone=vit_b16", "router=soft", "num_experts=128") == 0
    text = capsys.readouterr().out
    assert "parameters, total [M]" in text and "3,686" in text and "blocks.6.mlp and 5 more" in text


def test_formats(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["task=digits", "router=relu"]
    assert invoke(monkeypatch, *words, "format=json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["model"]["forward"]["executed"]["experts"]
        > found["dense"]["forward"]["executed"]["experts"]
        == 0
    )
    assert found["model"]["layers"][0]["name"] == "blocks.1.mlp"
    assert invoke(monkeypatch, *words, "format=markdown") == 0
    assert "|-" in capsys.readouterr().out


def test_a_model_without_moe_layers_is_accounted_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, "task=digits", "router=dense") == 0
    text = capsys.readouterr().out
    assert "no MoE layers" in text and "forward, executed [GFLOP]" in text


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("format=latex", "input should be 'table', 'markdown' or 'json'"),
        ("router=sfot", "nearest: soft"),
        ("num_experts=0", "greater than or equal to 1"),
        ("backbone=vit_b17", "nearest: "),
        ("backbnoe=vit_b16", "nearest: backbone"),
    ],
)
def test_bad_input(
    word: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, word) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("router", ["switch", "expert_choice"])
def test_upcycled_models_are_accounted_without_weights(router: str) -> None:
    words = [f"router={router}", "num_experts=4", "layers=[-1]"]
    model, dense = profile(
        compose("upcycle=timm:vit_tiny_patch16_224", "+backbone.kwargs.patch_size=2", *words)
    )
    assert model.parameters_total > dense.parameters_total
    deep, same = profile(compose("upcycle=nowhere.ckpt", "tile_depth=2", "router=dense"))
    assert deep.parameters_total > 1.9 * same.parameters_total
