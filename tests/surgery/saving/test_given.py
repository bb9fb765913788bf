"""What `save_moe` and `load_moe` are given: wrapped models, arguments that are code, odd paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from moesuite import UserError, load_moe, moefy, save_moe
from moesuite.models.example_inputs import random_example
from moesuite.surgery.saving.given import given_arguments, given_path
from tests.surgery.dense_models import VIT, build


class Twice(nn.Module):
    """An activation of one's own."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.relu(x)


def vit(**arguments: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", **{**VIT, **arguments})


def answer(model: Any) -> Tensor:
    x = random_example(model)
    with torch.no_grad():
        output: Tensor = model.eval()(x) if isinstance(x, Tensor) else model.eval()(**x)[0]
    return output


WRAPPERS: dict[str, Any] = {
    "compile": lambda model: torch.compile(model, backend="eager"),
    "parallel": nn.DataParallel,
    "both": lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrapper"),
    [("vit", "both"), *(("bert", wrapper) for wrapper in WRAPPERS)],
)
def test_wrapped_models_are_saved_without_the_wrapper(
    name: str, wrapper: str, tmp_path: Path
) -> None:
    model = moefy(build(name), "token_choice", 4)
    save_moe(WRAPPERS[wrapper](model), tmp_path)
    loaded = load_moe(tmp_path)
    assert type(loaded) is type(model) and torch.equal(answer(loaded), answer(model))


@pytest.mark.slow
@pytest.mark.parametrize("path", ["folder", "model.pt"])
def test_what_a_recipe_cannot_hold_is_saved_unchecked(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = moefy(vit(act_layer=Twice), "token_choice", 4)
    with pytest.raises(
        UserError, match=r"Twice.* cannot be saved; .*check=False\), and later load"
    ):
        save_moe(model, tmp_path / path)
    save_moe(model, tmp_path / path, check=False)
    assert "saved without how to build the model: the argument" in capsys.readouterr().err
    loaded = load_moe(tmp_path / path, model=vit(act_layer=Twice))
    assert torch.equal(answer(loaded), answer(model))


SIZES: dict[str, dict[str, Any]] = {
    "mixer_s32_224": {"num_classes": 5, "img_size": 64},
    "hiera_tiny_224": {"img_size": 64, "features_only": True},
    "gcvit_xxtiny": {"img_size": 64, "features_only": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_the_example_has_the_size_of_the_model(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = moefy(timm.create_model(name, **SIZES[name]), "token_choice", 2)
    assert random_example(model).shape[-2:] == (64, 64)
    save_moe(model, tmp_path)
    assert (tmp_path / "moesuite_answer.safetensors").is_file()
    assert "saved without an answer" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_made_by_its_class_is_compared(tmp_path: Path) -> None:
    def direct(heads: int) -> Any:
        size = {"img_size": 16, "patch_size": 8, "num_classes": 5}
        return VisionTransformer(**size, embed_dim=32, depth=2, num_heads=heads)  # type: ignore[arg-type]

    model = moefy(direct(4), "token_choice", 4)
    save_moe(model, tmp_path)
    with pytest.raises(UserError, match="another model came back: its answer"):
        load_moe(tmp_path, model=direct(2))
    assert torch.equal(answer(load_moe(tmp_path, model=direct(4))), answer(model))


@pytest.mark.slow
@pytest.mark.parametrize("path", ["folder", "model.pt"])
def test_attributes_are_compared_where_no_example_is_known(path: str, tmp_path: Path) -> None:
    x = torch.randn(1, 3, 16, 16)
    model = moefy(nn.Sequential(vit()), "token_choice", 4, example=x)
    model[0].limit, model[0].sizes = float("inf"), (1, (2, None))
    save_moe(model, tmp_path / path)
    with pytest.raises(UserError, match=r"head_dim of 0\.blocks\.0\.attn would be 8, and"):
        load_moe(tmp_path / path, model=nn.Sequential(vit(num_heads=4)))
    with pytest.raises(UserError, match=r"came back: .*act.* would be ReLU, and is GELU"):
        load_moe(tmp_path / path, model=nn.Sequential(vit(act_layer="relu")))
    unchecked = nn.Sequential(vit(num_heads=4))
    assert load_moe(tmp_path / path, model=unchecked, check=False) is unchecked
    loaded = load_moe(tmp_path / path, model=nn.Sequential(vit()))
    assert torch.equal(loaded(x), model.eval()(x))


def test_what_cannot_be_saved_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "folder.pt").mkdir()
    model = moefy(vit(), "token_choice", 4)
    wrong: list[tuple[Any, str, dict[str, Any], str]] = [
        ({"a": 1}, "new", {}, "a dict cannot be saved; expected a model"),
        (model, "file", {}, "file: a file already; expected a folder"),
        (model, "file/new", {"check": False}, "cannot be written .Not a directory.; expected a"),
        (model, "folder.pt", {}, "folder.pt: a folder already; expected"),
    ]
    for subject, name, options, says in wrong:
        with pytest.raises(UserError, match=says) as error:
            save_moe(subject, tmp_path / name, **options)
        assert "\n" not in str(error.value)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.pt"]


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="path=3: expected a folder or a file"):
        given_path(3)
    with pytest.raises(UserError, match=r"arguments=\[1\]: expected .* by name"):
        given_arguments([1])
    save_moe(moefy(vit(), "token_choice", 4), tmp_path, check=False)
    with pytest.raises(UserError, match=r"weights alone, .*; type load_moe\('.*'\)"):
        load_moe(tmp_path / "model.safetensors")
