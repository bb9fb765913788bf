"""MLPs of people's own code are read by what they compute, whatever their parts are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from moesuite import UserError, load_moe, moefy, save_moe
from moesuite.models.candidates import survey
from moesuite.models.mlps import trial
from moesuite.models.mlps.linear import as_linear, is_linear
from moesuite.models.mlps.split.chain import keeps_tokens_apart
from moesuite.nn.moe import moe_layers
from tests.models.mlps.own import (
    ALIKE,
    DIM,
    HIDDEN,
    UNLIKE,
    DropsInput,
    MetaLlama,
    OwnLinear,
    Quantised,
    host,
)


@pytest.mark.parametrize("name", ALIKE)
def test_equal_experts_are_the_dense_mlp(name: str) -> None:
    build, place = ALIKE[name]
    model = host(build())
    x = torch.randn(2, 3, DIM)
    for training in (False, True):
        dense = model.train(training)
        torch.manual_seed(1)
        expected = dense(x)
        if training:
            model = moefy(model, "token_choice", num_experts=1, layers="all")
            assert [layer for layer, _ in moe_layers(model)] == [f"1.{place}".strip(".")]
            torch.manual_seed(1)
            torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("name", UNLIKE)
def test_what_looks_the_same_but_is_not_is_named_and_refused(name: str) -> None:
    build, words = UNLIKE[name]
    with pytest.raises(UserError, match=words):
        moefy(host(build()))


def test_a_dropout_elsewhere_is_refused() -> None:
    with pytest.raises(UserError, match="in training .by dropout."):
        moefy(host(DropsInput()))


def test_layers_of_one_kind_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[nn.Module] = []
    search = trial.found_by_trying
    monkeypatch.setattr(trial, "found_by_trying", lambda mlp: tried.append(mlp) or search(mlp))
    model = nn.Sequential(*(MetaLlama() for _ in range(4)))
    assert len(survey(model).known) == 4
    assert sum(isinstance(module, MetaLlama) for module in tried) == 1


def test_modules_of_other_layers_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "with_random_weights", lambda _: pytest.fail("it was copied"))
    block = nn.TransformerEncoderLayer(DIM, 2, HIDDEN)
    assert trial.Trial()(block) == trial.Trial()(nn.Linear(DIM, HIDDEN)) == []
    assert trial.Trial()(timm.layers.SqueezeExcite(DIM)) == []


@pytest.mark.parametrize("name", ["gate last", "norm and packed gate", "relu squared"])
def test_saved_layers_come_back(name: str, tmp_path: Path) -> None:
    build, _ = ALIKE[name]
    model = moefy(host(build()), "token_choice", num_experts=2, layers="all").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    x = torch.randn(2, 3, DIM)
    path = tmp_path / "model.safetensors"
    save_moe(model, path, example=x)
    back = load_moe(path, model=host(build())).eval()
    torch.testing.assert_close(back(x), model(x))


def test_experts_of_frozen_layers_are_frozen_and_hooks_refused() -> None:
    dense = host(MetaLlama().requires_grad_(False))
    layer = moefy(dense, num_experts=2, layers="all")[1]
    assert not any(parameter.requires_grad for parameter in layer.experts.parameters())
    dense = host(MetaLlama())
    dense[1].w3.register_forward_hook(lambda *_: None)
    with pytest.raises(UserError, match="1.w3: its hooks"):
        moefy(dense, layers="all")


def test_what_counts_as_a_linear_layer() -> None:
    own = OwnLinear(DIM, HIDDEN)
    assert as_linear(own) is own and is_linear(own)
    own.register_parameter("lora", nn.Parameter(torch.ones(1)))
    assert as_linear(own) is None
    attention = nn.MultiheadAttention(DIM, 2)
    assert not is_linear(attention.out_proj)  # a subclass within torch
    computed = nn.utils.parametrizations.weight_norm(OwnLinear(DIM, HIDDEN))
    assert not is_linear(computed)
    with pytest.raises(UserError, match="the parametrization of weight would be lost"):
        moefy(host(nn.Sequential(computed, nn.ReLU(), OwnLinear(HIDDEN, DIM))))


def test_quantised_layers_are_named() -> None:
    mlp = nn.Sequential(nn.Linear(DIM, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIM))
    for index in (0, 2):
        mlp[index].weight = Quantised(mlp[index].weight.detach())
    with pytest.raises(UserError, match=r"1 has the torch.*Linear 0 with weights of .*Quantised;"):
        moefy(host(mlp))


def test_scripted_models_are_told_to_come_before() -> None:
    with pytest.raises(UserError, match="a model of torch.jit.script"):
        moefy(torch.jit.script(host(MetaLlama())))
    mixed = nn.Sequential(nn.Linear(DIM, DIM), torch.jit.script(MetaLlama()))
    with pytest.raises(UserError, match="no MLP that can become an MoE layer"):
        moefy(mixed)


def test_experts_of_own_mixtures_become_mixtures_only_if_they_are_named() -> None:
    mixture = nn.ModuleDict({"experts": nn.ModuleList([MetaLlama(), MetaLlama()])})
    with pytest.raises(UserError, match=r"mixture of experts already .* layers=\['experts.0',"):
        moefy(mixture)
    model = moefy(mixture, num_experts=2, layers=["experts.1"])
    assert [name for name, _ in moe_layers(model)] == ["experts.1"]


@pytest.mark.parametrize(
    ("act", "is_apart"),
    [
        (nn.GELU(), True),
        (nn.PReLU(), True),
        (nn.RReLU(), True),
        (nn.Softmax(dim=-1), True),
        (nn.Softmax(dim=0), False),
        (nn.LogSoftmax(dim=1), False),
        (nn.Softmin(dim=-2), False),
        (nn.Softmax2d(), False),
        (nn.GLU(), False),  # of another width
        (nn.BatchNorm1d(HIDDEN), False),
        (nn.PReLU(3), False),  # a slope for each of the tokens
    ],
)
def test_activations_that_keep_tokens_apart(act: nn.Module, is_apart: bool) -> None:
    assert keeps_tokens_apart(act, HIDDEN) is is_apart
    assert keeps_tokens_apart(act.to("meta"), HIDDEN) is is_apart
    with torch.device("meta"):  # as transformers builds models
        assert keeps_tokens_apart(act, HIDDEN) is is_apart
