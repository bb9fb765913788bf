"""A run that starts from the weights of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import nn

from moesuite import RunRecord, compose, moefy
from moesuite.errors import UserError
from moesuite.models.backbones import build_backbone
from moesuite.records.identity import content_of
from moesuite.surgery.weights import start_from
from moesuite.train.fit import fit

VIT = {
    "patch_size": 2,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 4,
    "in_chans": 1,
    "class_token": False,
}
TEXT = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def vit(image_size: int = 8, num_classes: int = 10, seed: int = 0, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    sizes = {"img_size": image_size, "num_classes": num_classes}
    model = timm.create_model("vit_tiny_patch16_224", global_pool="avg", **VIT, **sizes)
    return moefy(model, "token_choice", **{"num_experts": 4, **options})


def bert(head: str, seed: int = 0, **options: object) -> nn.Module:
    fit = {"head": head, "max_position_embeddings": 8, "pad_token_id": 0, **options}
    model = build_backbone("hf:bert", False, seed, fit, TEXT)
    torch.manual_seed(seed)
    return moefy(model, "token_choice", num_experts=4)


def saved(model: nn.Module, path: Path) -> str:
    torch.save(
        {"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}, path
    )
    return str(path)


def differing(first: nn.Module, second: nn.Module) -> set[str]:
    other = second.state_dict()
    return {
        n
        for n, value in first.state_dict().items()
        if n not in other or not torch.equal(value, other[n])
    }


def test_positions_are_interpolated_and_nothing_else_changes(tmp_path: Path) -> None:
    small, large = vit(), vit(16, seed=1)
    start_from(large, saved(small, tmp_path / "last.ckpt"))
    assert differing(small, large) == {"pos_embed"}
    expected = resample_abs_pos_embed(small.pos_embed, [8, 8], num_prefix_tokens=0)
    torch.testing.assert_close(large.pos_embed, expected)
    assert large(torch.randn(2, 1, 16, 16)).shape == (2, 10)


def test_a_head_for_other_classes_stays_new(tmp_path: Path) -> None:
    ten, three = vit(), vit(num_classes=3, seed=1)
    head = three.head.weight.clone()
    start_from(three, saved(ten, tmp_path / "last.ckpt"))
    assert differing(ten, three) == {"head.weight", "head.bias"}
    assert torch.equal(three.head.weight, head)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "swin_tiny_patch4_window7_224",
            {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)},
        ),
        ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}),
        ("mixer_s32_224", {}),
        ("eva02_tiny_patch14_224", {"depth": 2}),
        ("deit_tiny_distilled_patch16_224", {"depth": 2}),
    ],
)
def test_every_family_takes_its_own_weights_back(
    name: str, options: dict[str, object], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    first, second = (
        moefy(timm.create_model(name, **options), "token_choice", num_experts=2) for _ in range(2)
    )
    assert differing(first, second)
    start_from(second, saved(first, tmp_path / "last.ckpt"))
    assert not differing(first, second)


@pytest.mark.parametrize(
    ("head", "options"), [("classification", {"num_labels": 3}), ("embedding", {})]
)
def test_a_language_model_becomes_something_else(
    head: str, options: dict[str, int], tmp_path: Path
) -> None:
    before, after = bert("masked"), bert(head, seed=1, **options)
    start_from(after, saved(before, tmp_path / "last.ckpt"))
    shared = {name.removeprefix("bert."): value for name, value in before.state_dict().items()}
    own = {name.removeprefix("bert."): value for name, value in after.state_dict().items()}
    new = {
        name
        for name, value in own.items()
        if name not in shared or not torch.equal(value, shared[name])
    }
    assert {name.split(".")[0] for name in new} <= {"classifier", "pooler"}
    assert bool(new) == (head == "classification")


@pytest.mark.slow
def test_a_run_at_a_higher_resolution_starts_from_another(tmp_path: Path) -> None:
    def run(*words: str) -> RunRecord:
        quick = [
            "measure=false",
            "trainer.enable_progress_bar=false",
            f"records={tmp_path / 'runs'}",
            "logger=none",
        ]
        return fit(compose("task=digits", "task.mixup=0", *words, *quick))[0]

    first = run("trainer.max_epochs=6")
    checkpoint = next((tmp_path / "runs").rglob("last.ckpt"))
    assert run("trainer.max_epochs=0", f"init={checkpoint}").quality == first.quality
    large = ["task.image_size=16", "trainer.max_epochs=1"]
    tuned, fresh = run(*large, f"init={checkpoint}"), run(*large)
    assert tuned.quality["top1"].value > fresh.quality["top1"].value + 0.2
    moved = checkpoint.rename(tmp_path / "elsewhere.ckpt")
    assert run(*large, f"init={moved}").id == tuned.id != fresh.id


def test_bad_input(tmp_path: Path) -> None:
    text = tmp_path / "notes.ckpt"
    text.write_text("no weights", encoding="utf-8")
    torch.save({"state_dict": {"weight": torch.ones(1)}}, tmp_path / "foreign.ckpt")
    good = saved(vit(), tmp_path / "last.ckpt")
    for model, checkpoint, says in (
        (
            vit(),
            str(tmp_path / "none.ckpt"),
            r"none.ckpt: no such file; .* type for example init=runs/",
        ),
        (vit(), str(text), r"notes.ckpt: no checkpoint of a run .*; expected last.ckpt"),
        (vit(), str(tmp_path / "foreign.ckpt"), r"foreign.ckpt: no weights of a run in it"),
        (
            vit(num_experts=8),
            good,
            r"weights that do not fit: .*\(4, .*, here \(8, .*same backbone",
        ),
        (vit(layers="all"), good, r"blocks.0.mlp.*missing, here"),
    ):
        with pytest.raises(UserError, match=says):
            start_from(model, checkpoint)
    assert content_of(None) is None and content_of(good) != content_of(str(text))
