"""Hugging Face backbones: surgery is exact, costs equal counted ones, masks reach routers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from moesuite import moefy
from moesuite.compute.cost import cost
from moesuite.errors import UserError
from moesuite.models.backbones import build_backbone
from moesuite.nn.context import Scope
from moesuite.nn.moe import moe_layers
from tests.compute.counted import assert_as_counted
from tests.helpers import long_except
from tests.models.backbones import LENGTH, MODELS, VOCABULARY, batch, build


@pytest.mark.parametrize("name", MODELS)
def test_experts_are_copies(name: str) -> None:
    """Hash routing has weight 1: with copies of the MLP as experts nothing changes."""
    model, inputs = build(name), batch(name)
    moe = moefy(copy.deepcopy(model), "hash", num_experts=4, layers="all", example=inputs)
    assert len(list(moe_layers(moe))) == (4 if "t5" in name else 2)
    mask = inputs.get("decoder_attention_mask", inputs["attention_mask"]).bool()
    torch.testing.assert_close(moe(**inputs).logits[mask], model(**inputs).logits[mask])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("router", long_except(["usmoe", "expert_choice"], "usmoe"))
def test_padding_changes_nothing(name: str, router: str) -> None:
    torch.manual_seed(0)
    model = moefy(build(name), router, num_experts=4, layers="all", example=batch(name))
    real = batch(name, padding=0).get("decoder_attention_mask", torch.ones(3, 12)).bool()
    few, more = (
        model(**batch(name, padding=padding)).logits[:, : real.shape[1]][real] for padding in (0, 5)
    )
    torch.testing.assert_close(few, more, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", long_except(MODELS, "gpt2"))
@pytest.mark.parametrize("masked", [False, True])
def test_costs_are_those_counted(name: str, masked: bool) -> None:
    """Forward and training; the backbone's account leaves out masks.

    They cost memory but no products.
    """
    inputs = {key: value for key, value in batch(name).items() if masked or "mask" not in key}
    model = moefy(build(name), "token_choice", num_experts=4, layers="all", example=inputs)
    assert_as_counted(model, inputs, tolerance=0.1 if masked else 0)
    found, dense = cost(model, inputs), cost(build(name), inputs)
    assert dense.layers == [] and dense.parameters_total < found.parameters_total


def test_every_embedding_is_trained() -> None:
    model = build("bert")
    model(input_ids=torch.zeros(1, 4, dtype=torch.long)).logits.sum().backward()
    gradient = model.get_input_embeddings().weight.grad
    assert gradient is not None and bool(gradient[0].any())


def test_cached_decoding_is_that_of_the_whole_sequence() -> None:
    model = moefy(build("gpt2"), "hash", num_experts=4, layers="all")
    ids = batch("gpt2", padding=0)["input_ids"]
    whole = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -1]
    before = model(input_ids=ids[:, :-1], use_cache=True)
    mask = torch.ones_like(ids)  # of all tokens so far, with one new token
    moe = next(layer for _, layer in moe_layers(model))
    last = model(
        input_ids=ids[:, -1:], attention_mask=mask, past_key_values=before.past_key_values
    ).logits[:, -1]
    assert moe.routing is not None and moe.routing.num_tokens == 1
    torch.testing.assert_close(last, whole, atol=1e-4, rtol=1e-3)


def test_a_mask_that_does_not_fit_is_refused() -> None:
    model = moefy(build("gpt2"), "hash", num_experts=4, layers="all")
    context = next(layer.context for _, layer in moe_layers(model))
    layer = model.transformer.h[0].mlp
    mask = torch.ones(3, 20, dtype=torch.bool)
    mask[0, 19] = False
    with (
        context.inside(Scope(mask)),
        pytest.raises(
            UserError, match=r"padding mask of shape \(3, 20\) for tokens of shape \(3, 12\)"
        ),
    ):
        layer(torch.randn(3, 12, 32))


@pytest.mark.parametrize(
    ("model", "fit", "says"),
    [
        ("hf:gpt3", {"head": "causal"}, "nearest types: hf:gpt"),
        ("hf:bert", {"head": "span_corruption"}, "cannot do task.objective=span_corruption"),
        ("hf:gpt2", {}, "expected timm:<name>"),
        ("timm:vit_tiny_patch16_224", {"head": "causal"}, "e.g. backbone=gpt_mini"),
        ("keras:vit", {}, "unknown library 'keras'"),
        ("hf:gpt2", {"head": "causal", "n_layer": 1, "n_head": 5}, "refuses its arguments"),
    ],
)
def test_backbones_that_do_not_fit(
    model: str, fit: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_OFFLINE", True
    )  # no retries without a network
    with pytest.raises(UserError, match=says):
        build_backbone(model, False, 0, fit, {})


def test_sequences_longer_than_a_pretrained_model_has_positions_for(tmp_path: Any) -> None:
    build("gpt2").save_pretrained(tmp_path)
    fit = {"head": "causal", "vocab_size": VOCABULARY, "max_position_embeddings": LENGTH}
    loaded = build_backbone(f"hf:{tmp_path}", True, 0, fit, {})
    assert all(module.training for module in loaded.modules())
    for (key, ours), theirs in zip(
        loaded.state_dict().items(), build("gpt2").state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), key
    with pytest.raises(UserError, match="task.length of 128 is more than the 66"):
        build_backbone(f"hf:{tmp_path}", True, 0, fit | {"max_position_embeddings": 128}, {})
    with pytest.raises(
        UserError,
        match="vocabulary of 101 is more than the 100 .*e.g. backbone.tokenizer=",
    ):
        build_backbone(f"hf:{tmp_path}", True, 0, fit | {"vocab_size": 101}, {})
