"""`load_moe(path, model=…)` fills that very model; weights tied by hand are tied again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from moesuite import UserError, load_moe, moefy, save_moe
from moesuite.models.example_inputs import random_example
from moesuite.surgery.checkpoint_format import describe
from moesuite.surgery.saving.ties import ties_of
from tests.surgery.dense_models import build


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model.eval()(**random_example(model)).logits
    return output


@pytest.mark.parametrize("path", ["folder", pytest.param("model.pt", marks=pytest.mark.slow)])
def test_the_given_model_is_filled(path: str, tmp_path: Path) -> None:
    """A configuration that was changed after building is not that of the model."""
    model: Any = moefy(build("llama"), "token_choice", 4)
    model.config.rms_norm_eps = 0.9
    with pytest.raises(UserError, match=r"check=False\) and later load_moe\(path, model="):
        save_moe(model, tmp_path / path)
    save_moe(model, tmp_path / path, check=False)
    dense = build("llama")
    loaded = load_moe(tmp_path / path, model=dense)
    assert loaded is dense and torch.equal(logits(loaded), logits(model))


@pytest.mark.slow
def test_the_given_model_keeps_what_it_computes_otherwise(tmp_path: Path) -> None:
    save_moe(moefy(build("llama"), "token_choice", 4), tmp_path)
    dense: Any = build("llama")
    dense.model.norm.variance_epsilon = 0.5
    with pytest.raises(UserError, match="another model came back: its answer"):
        load_moe(tmp_path, model=dense)
    with pytest.raises(UserError, match="model=Sequential is not a model of transformers"):
        load_moe(tmp_path, model=nn.Sequential())
    with pytest.raises(UserError, match="no MLP at model.layers.1.mlp"):
        load_moe(tmp_path, model=build("bert"))


@pytest.mark.slow
def test_the_given_model_gets_the_precision_that_was_saved(tmp_path: Path) -> None:
    model = moefy(build("llama"), "loss_free", 4).bfloat16()
    save_moe(model, tmp_path)
    loaded = load_moe(tmp_path, model=build("llama"))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert torch.equal(logits(loaded), logits(model))


@pytest.mark.slow
@pytest.mark.parametrize("path", ["folder", "model.pt"])
def test_weights_tied_by_hand_are_tied_again(path: str, tmp_path: Path) -> None:
    model: Any = moefy(build("llama"), "token_choice", 4)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    model.lm_head.weight = model.model.embed_tokens.weight
    save_moe(model, tmp_path / path)
    loaded: Any = load_moe(tmp_path / path)
    save_moe(loaded, tmp_path / f"again-{path}")
    for other in (loaded, load_moe(tmp_path / f"again-{path}", model=build("llama"))):
        assert other.lm_head.weight is other.model.embed_tokens.weight
        assert torch.equal(logits(other), logits(model))


@pytest.mark.slow
def test_modules_of_ones_own_are_tied_again(tmp_path: Path) -> None:
    model: Any = moefy(build("vit"), "token_choice", 4)
    model.blocks[0].attn.proj.weight = model.blocks[1].attn.proj.weight
    save_moe(model, tmp_path)
    loaded: Any = load_moe(tmp_path)
    assert loaded.blocks[0].attn.proj.weight is loaded.blocks[1].attn.proj.weight
    x = random_example(model)
    assert torch.equal(loaded(x), model.eval()(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t5", "bert", "gpt2", "roberta", "vit"])
def test_what_a_configuration_ties_is_not_described(name: str) -> None:
    """Folders of such models stay readable where `tied` is not known."""
    model = moefy(build(name), "token_choice", 4)
    assert ties_of(model) == [] and "tied" not in describe(model).plain()
