"""What comes back of a timm model is what was saved, or saving says at once that it is not."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from moesuite import UserError, load_moe, moefy, save_moe, upcycle
from moesuite.models.recipes import from_recipe, recipe_of
from tests.surgery.dense_models import VIT, build
from tests.surgery.small_vit import small_vit

NAME = "vit_tiny_patch16_224"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "activation": {"act_layer": "relu"},
    "dynamic size": {"dynamic_img_size": True},
    "features": {"features_only": True, "out_indices": [0, 1]},
    "depth": {"depth": 3},
    "patches": {"patch_size": 8},
    "class of an activation": {"act_layer": nn.ReLU},
    "partial": {"norm_layer": partial(nn.LayerNorm, eps=0.1)},
    "heads": {"num_heads": 4},
    "pool": {"global_pool": "avg"},
    "no class token": {"global_pool": "avg", "class_token": False},
    "channels": {"in_chans": 1},
    "image": {"img_size": 32},
    "bias": {"qkv_bias": False},
    "scale": {"init_values": 0.5},
    "width of MLPs": {"mlp_ratio": 2},
    "registers": {"reg_tokens": 2},
    "drops": {"drop_path_rate": 0.1, "drop_rate": 0.1},
}
QUICK = ("activation", "dynamic size")


def vit(**arguments: Any) -> Any:
    torch.manual_seed(0)
    model: Any = timm.create_model(NAME, **{**VIT, **arguments})
    return model


def image(arguments: dict[str, Any]) -> Tensor:
    size = arguments.get("img_size", 16)
    random = torch.Generator().manual_seed(1)
    return torch.randn(2, arguments.get("in_chans", 3), size, size, generator=random)


def answers(model: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        y = model.eval()(x)
    return y if isinstance(y, list) else [y]


@pytest.mark.parametrize("path", ["folder", "model.pt"])
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ARGUMENTS],
)
def test_constructor_arguments_come_back(name: str, path: str, tmp_path: Path) -> None:
    x = image(ARGUMENTS[name])
    model, _ = upcycle(vit(**ARGUMENTS[name]), "token_choice", 4, example=x, expert_noise=0.1)
    save_moe(model, tmp_path / path, example=x)
    loaded = load_moe(tmp_path / path)
    for ours, theirs in zip(answers(loaded, x), answers(model, x), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0)
    if "dynamic_img_size" in ARGUMENTS[name]:
        larger = image({"img_size": 32})
        torch.testing.assert_close(answers(loaded, larger), answers(model, larger))
    rates = [[m.p for m in host.modules() if isinstance(m, nn.Dropout)] for host in (loaded, model)]
    assert rates[0] == rates[1]
    save_moe(loaded, tmp_path / "again", example=x)
    torch.testing.assert_close(answers(load_moe(tmp_path / "again"), x), answers(model, x))


@pytest.mark.slow
def test_changes_after_construction_come_back(tmp_path: Path) -> None:
    model = moefy(vit(), "token_choice", 4)
    model.reset_classifier(7)
    model.set_input_size(img_size=32)
    save_moe(model, tmp_path)
    loaded, x = load_moe(tmp_path), image({"img_size": 32})
    assert answers(loaded, x)[0].shape == (2, 7)
    torch.testing.assert_close(answers(loaded, x), answers(model, x), atol=0, rtol=0)


@pytest.mark.slow
def test_the_published_weights_are_named(tmp_path: Path) -> None:
    """A tag tells mean and standard deviation of the images."""
    model: Any = moefy(timm.create_model(f"{NAME}.augreg_in21k", **VIT), "token_choice", 4)
    save_moe(model, tmp_path)
    loaded: Any = load_moe(tmp_path)
    assert loaded.pretrained_cfg == model.pretrained_cfg != vit().pretrained_cfg


def test_unrecorded_arguments_are_asked_for(tmp_path: Path) -> None:
    """An entry point called by itself records nothing."""
    entry = timm.models.vision_transformer.vit_tiny_patch16_224
    model = moefy(entry(**{**VIT, "act_layer": "relu"}), "token_choice", 4)
    with pytest.raises(
        UserError,
        match=r"VisionTransformer would come back as another model: .*; type save_moe\(model, "
        r"path, arguments=\{…\} of timm.create_model, or check=False\)",
    ):
        save_moe(model, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="would be GELU, and is ReLU"):
        save_moe(model, tmp_path, arguments=VIT)
    with pytest.raises(UserError, match=r"num_classes=6 disagrees with the current model \(5\)"):
        save_moe(model, tmp_path, arguments={"num_classes": 6})
    save_moe(model, tmp_path, arguments={**VIT, "act_layer": "relu"})
    x = image({})
    torch.testing.assert_close(answers(load_moe(tmp_path), x), answers(model, x), atol=0, rtol=0)
    save_moe(model, tmp_path / "unchecked", check=False)
    with pytest.raises(UserError, match=r"not known; type load_moe\(path, model=<the model>\)"):
        load_moe(tmp_path / "unchecked")


@pytest.mark.slow
def test_other_arguments_at_loading(tmp_path: Path) -> None:
    model = moefy(vit(), "token_choice", 4)
    save_moe(model, tmp_path / "model.pt")
    loaded: Any = load_moe(tmp_path / "model.pt", arguments={"dynamic_img_size": True})
    assert answers(loaded, image({"img_size": 32}))[0].shape == (2, 5)
    with pytest.raises(UserError, match=r"weights that do not fit: cls_token: \(1, 1, 32\), here"):
        load_moe(tmp_path / "model.pt", arguments={"embed_dim": 64})
    with pytest.raises(UserError, match="the dense model cannot be built as described: .*colour"):
        load_moe(tmp_path / "model.pt", arguments={"colour": 1})
    save_moe(moefy(build("bert"), "token_choice", 4), tmp_path / "bert.pt")
    with pytest.raises(UserError, match="this is no model of timm"):
        load_moe(tmp_path / "bert.pt", arguments={"depth": 2})
    with pytest.raises(UserError, match="they are those of timm.create_model, .*BertForMaskedLM"):
        save_moe(moefy(build("bert"), "token_choice", 4), tmp_path, arguments={"depth": 2})


@pytest.mark.slow
def test_code_is_no_argument(tmp_path: Path) -> None:
    def norm(width: int, **options: Any) -> nn.Module:
        return nn.LayerNorm(width, **options)

    model = moefy(vit(norm_layer=norm), "token_choice", 4)
    with pytest.raises(UserError, match="norm.* of a model cannot be saved; .*check=False"):
        save_moe(model, tmp_path)
    recipe: Any = recipe_of(vit())
    recipe["arguments"]["act_layer"] = {"class": "torch.nn.functional.relu"}
    about = {"format": 1, "layers": {}, "dense": recipe}
    torch.save({"moesuite": about, "state_dict": {}}, tmp_path / "model.pt")
    with pytest.raises(UserError, match="no class of torch.nn or timm.layers"):
        load_moe(tmp_path / "model.pt")


def test_a_change_that_no_argument_makes_is_refused(tmp_path: Path) -> None:
    model = moefy(vit(), "token_choice", 4)
    model.blocks[0].attn.scale *= 2
    with pytest.raises(UserError, match="scale of blocks.0.attn would be 0.25, and is 0.5"):
        save_moe(model, tmp_path)


@pytest.mark.parametrize("path", ["folder", "model.pt"])
def test_another_answer_at_loading_is_refused(path: str, tmp_path: Path) -> None:
    """As another version of a library would give, or another `model=`."""
    model, _ = upcycle(vit(act_layer="relu"), "token_choice", 4)
    save_moe(model, tmp_path / path)
    with pytest.raises(
        UserError,
        match=r"another model came back: its answer to the saved example is off by \d+\.\d\d%, "
        r"expected at most 0\.10%; .* or check=False",
    ):
        load_moe(tmp_path / path, model=vit())
    assert load_moe(tmp_path / path, model=vit(), check=False) is not None
    assert load_moe(tmp_path / path, model=vit(act_layer="relu")) is not None


@pytest.mark.slow
def test_the_example_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of their own has no known example, nor a recipe."""
    x = torch.randn(3, 1, 8, 8)
    host = nn.Sequential(small_vit())
    upcycle(host, "token_choice", 4, example=x)
    save_moe(host, tmp_path / "silent")
    assert "load it by load_moe(path, model=<the dense model>)" in capsys.readouterr().err
    save_moe(host, tmp_path / "asked", example=x)
    assert torch.equal(load_moe(tmp_path / "asked", nn.Sequential(small_vit()))(x), host.eval()(x))
    with pytest.raises(UserError, match="another model came back"):
        load_moe(tmp_path / "asked", nn.Sequential(small_vit(act_layer="relu")))
    with pytest.raises(UserError, match="head_dim of .* would be 4, and is 8"):
        load_moe(tmp_path / "silent", nn.Sequential(small_vit(num_heads=4)))
    with pytest.raises(UserError, match="Sequential does not run on the example"):
        save_moe(host, tmp_path / "wrong", example=torch.zeros(1, 2))
    with pytest.raises(UserError, match="example: expected a tensor, or tensors by the keywords"):
        save_moe(host, tmp_path / "wrong", example=[x])


@pytest.mark.slow
def test_buffers_that_are_no_weights_keep_their_type(tmp_path: Path) -> None:
    """Rotary positions of EVA, which a cast of the whole model casts too."""
    model = moefy(build("eva02"), "token_choice", 4).bfloat16()
    save_moe(model, tmp_path)
    about = json.loads((tmp_path / "moesuite.json").read_text(encoding="utf-8"))
    assert set(about["buffers"].values()) == {"bfloat16"}
    loaded = load_moe(tmp_path)
    assert [b.dtype for b in loaded.buffers()] == [b.dtype for b in model.buffers()]


def test_an_infinite_option_comes_back() -> None:
    """As Mamba's `time_step_limit`, which JSON cannot hold."""
    model = build("bert")
    model.config.limit = [0.0, float("inf")]
    recipe = json.loads(json.dumps(recipe_of(model)))
    assert from_recipe(recipe).config.limit == [0.0, float("inf")]
