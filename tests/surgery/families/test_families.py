"""Models whose MLPs are spread over their layers: the dense model is the oracle."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from moesuite import load_moe, moefy, save_moe, upcycle
from moesuite.models.candidates import candidates, survey
from moesuite.nn.moe import moe_layers
from tests.surgery.families.small import BART, CONVNEXT, DRY, FAMILIES, FEW, answer, build, example

EACH = [pytest.param(kind, marks=() if kind in FEW else pytest.mark.slow) for kind in FAMILIES]


@pytest.mark.parametrize("kind", EACH)
def test_experts_that_are_copies_answer_as_the_dense_model(kind: str) -> None:
    dense = build(kind)
    model, receipt = upcycle(
        copy.deepcopy(dense),
        "token_choice",
        4,
        layers="all",
        renormalise=True,
        k=2,
        example=example(dense),
    )
    assert len(receipt.layers) == FAMILIES[kind][1]
    assert all(row.unserved == 0 and row.difference <= 1e-5 * row.scale for row in receipt.layers)
    with torch.no_grad():
        torch.testing.assert_close(answer(model.eval()), answer(dense), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", EACH)
def test_dropout_in_training_is_that_of_the_dense_model(kind: str) -> None:
    """One expert sees the tokens in their order: the same draws give the same outputs."""
    dense = build(kind)
    model = moefy(copy.deepcopy(dense), "token_choice", 1, layers="all", renormalise=True)
    with torch.no_grad():
        trained = answer(dense.train())
        torch.testing.assert_close(answer(model.train()), trained, atol=1e-5, rtol=1e-5)
        assert kind in DRY or not torch.allclose(trained, answer(dense.eval()), atol=1e-3)


@pytest.mark.parametrize("kind", EACH)
def test_gradients_reach_every_expert(kind: str) -> None:
    model = moefy(build(kind).train(), "token_choice", 2, layers="all", k=2)
    answer(model).square().sum().backward()
    for _, layer in moe_layers(model):
        for weight in (layer.experts.up.weight, layer.experts.down.weight):
            assert bool((weight.grad.abs().amax(dim=(1, 2)) > 0).all())


@pytest.mark.parametrize("kind", EACH)
def test_saved_models_come_back(kind: str, tmp_path: Path) -> None:
    model, _ = upcycle(
        build(kind), num_experts=4, layers="all", expert_noise=0.1, example=example(build(kind))
    )
    save_moe(model, tmp_path)
    loaded = load_moe(tmp_path)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(answer(loaded), answer(model.eval()), atol=0, rtol=0)


@pytest.mark.parametrize("kind", EACH)
def test_routers_of_a_size_learn_the_number_of_tokens(kind: str) -> None:
    """OPT flattens its sequences before the MLP: their length is that of the ids."""
    model = build(kind)
    moefy(model, "soft", 2, layers="all", slots_per_token=1.0, example=example(model))
    answer(model.train()).sum().backward()
    for _, layer in moe_layers(model):
        dispatch, _ = layer.routing.dense()  # [G, T, E, C]
        assert len(dispatch) == 2 and dispatch.shape[1] == layer.router.spec.tokens


def test_shared_layers_stay_shared() -> None:
    """ALBERT calls one layer twice: two steps of one MoE layer."""
    model = build("albert")
    (candidate,) = candidates(model)
    assert candidate.name == "encoder.albert_layer_groups.0.albert_layers.0.ffn"
    ((_, layer),) = moe_layers(moefy(model, "switch", 4, layers="all"))
    calls = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    answer(model)
    assert len(calls) == 2 and layer.routing.load().shape == (2, 4)


def test_names_of_weights_are_stable() -> None:
    """Saved models depend on them: `moesuite.surgery.checkpoint_format`."""
    places = {
        "bart": "encoder.layers.0.fc1",
        "esm": "encoder.layer.0.intermediate",
        "convnext": "encoder.stages.0.layers.0.pwconv1",
        "distilbert": "transformer.layer.0.ffn",
        "wav2vec2": "encoder.layers.0.feed_forward",
    }
    assert {kind: candidates(build(kind))[0].name for kind in places} == places
    names = moefy(build("bart"), num_experts=2, layers=[0]).state_dict()
    assert {name for name in names if name.startswith("encoder.layers.0.fc")} == {
        "encoder.layers.0.fc1.router.gate.weight",
        "encoder.layers.0.fc1.experts.up.weight",
        "encoder.layers.0.fc1.experts.up.bias",
        "encoder.layers.0.fc1.experts.down.weight",
        "encoder.layers.0.fc1.experts.down.bias",
    }


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("convnextv2", CONVNEXT, r"act, grn between its linear layers; expected an activation"),
        (
            "xlnet",
            {"d_model": 32, "d_inner": 64, "n_layer": 1, "n_head": 2},
            r"\[tokens, groups, D\]",
        ),
        ("pegasus_x", BART, "its layer uses activation_fn, .*fc2 elsewhere, too"),
    ],
)
def test_what_cannot_be_replaced_is_said(kind: str, options: dict[str, Any], reason: str) -> None:
    config = transformers.AutoConfig.for_model(kind, **options)
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config)
    refused = survey(model).refused
    assert refused and all(re.search(reason, text) for text in refused.values()), refused
