"""Models and routers that cannot be rerouted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from moesuite import UserError, reroute
from moesuite.nn.moe import moe_layers
from tests.models.backbones import build as build_dense
from tests.surgery.moe_models import build


@pytest.mark.parametrize("router", ["soft", "cosine", "noisy_topk", "dense"])
def test_routers_that_need_weights_that_the_model_lacks(router: str) -> None:
    model = build("olmoe")
    with pytest.raises(
        UserError, match=rf"router={router}: it needs weights of its own .*e.g. router=usmoe"
    ):
        reroute(model, router)
    assert not list(moe_layers(model))


def test_a_dense_model_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"GPT2LMHeadModel has no MoE layers .*it is dense; type moesuite.upcycle"
    ):
        reroute(build_dense("gpt2"))


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ("model.layers.0.mlp", "unknown layers 'model.layers.0.mlp'.*layers=last_half"),
        ([2], r"unknown MoE layer '2'.*layers=\['model.layers.0.mlp'\]"),
        ([], r"layers=\[\]: nothing matched; MoE layers: model.layers.0.mlp, "),
    ],
)
def test_layers_that_are_none(layers: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        reroute(build("olmoe"), layers=layers)


def test_a_name_of_no_model() -> None:
    with pytest.raises(UserError, match="mixtral: unknown library 'mixtral'; expected timm:"):
        reroute("mixtral")


def test_a_block_without_adapter_is_named() -> None:
    class OddMoeBlock(nn.Module):
        pass

    with pytest.raises(
        UserError, match="no MoE layers that can be rerouted: OddMoeBlock: it has no modules `gate`"
    ):
        reroute(nn.Sequential(OddMoeBlock()))


def test_a_layer_that_does_not_exist() -> None:
    with pytest.raises(
        UserError, match="unknown MoE layer 'model.layers.7.mlp'; nearest: model.layers"
    ):
        reroute(build("olmoe"), layers=["model.layers.7.mlp"])


def test_a_model_that_routes_by_another_rule_is_refused() -> None:
    model = build("olmoe")
    block = model.model.layers[1].mlp
    forward = block.experts.forward
    block.experts.forward = lambda *args: 2 * forward(*args)
    with pytest.raises(
        UserError, match=r"model.layers.1.mlp: rebuilt with its own rule, its output is off by"
    ):
        reroute(model)
    assert not list(moe_layers(model))


class Gate(nn.Linear):
    """A gate of softmax, which may lack what it needs."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits = super().forward(x)
        return logits, *logits.softmax(-1).topk(self.top_k, dim=-1)


class Layer(nn.Module):
    """Its output is not a sum of its experts."""

    def __init__(self, experts: nn.Module, top_k: int | None) -> None:
        super().__init__()
        self.gate, self.experts = Gate(32, 8), experts
        if top_k is not None:
            self.gate.top_k = top_k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, weights, chosen = self.gate(x.flatten(0, 1))
        y: torch.Tensor = self.experts(x.flatten(0, 1), chosen, weights)
        return y.tanh().reshape(x.shape)


@pytest.mark.parametrize(
    ("top_k", "reason"),
    [
        (None, "its gate does not return logits, weights and experts"),
        (1, "its output is no sum of its experts and its shared expert"),
    ],
)
def test_layers_of_unknown_code_are_refused_not_run_into(top_k: int | None, reason: str) -> None:
    experts = build("mixtral").model.layers[0].mlp.experts
    with pytest.raises(UserError, match=reason):
        reroute(nn.Sequential(Layer(experts, top_k)), example=torch.randn(2, 4, 32))
