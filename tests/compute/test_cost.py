"""FLOPs and parameters against numbers worked by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch.nn import functional as F

from moesuite import moefy
from moesuite.compute.cost import cost, observed_routings
from moesuite.compute.flop_counter import FORMULAS, count_flops
from moesuite.discovery.names import router_names
from tests.compute.counted import (
    ATTENTION,
    BLOCKS,
    HEAD,
    HIDDEN,
    MLP,
    PATCH,
    TOKENS,
    WIDTH,
    assert_as_counted,
    images,
    vit,
)
from tests.helpers import long_except

KERNEL_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def test_formulas_by_hand() -> None:
    # one head of width 4, 5 tokens: q kᵀ and the product with v, each 2 · 5 · 5 · 4 = 200
    q = torch.randn(1, 1, 5, 4)
    assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q)).total == 400
    # 5 rows of width 8, each with one of three matrices [8, 16]: 2 · 5 · 8 · 16
    x, w, ends = (
        torch.randn(5, 8),
        torch.randn(3, 8, 16),
        torch.tensor([2, 2, 5], dtype=torch.int32),
    )
    assert count_flops(lambda: F.grouped_mm(x, w, offs=ends)).total == 1280
    assert count_flops(lambda: w[0].t() @ x[0]).total == 2 * 8 * 16
    assert count_flops(lambda: x[0] @ x[1]).total == 2 * 8


def test_the_dense_model_by_hand() -> None:
    found = cost(vit(), images())
    assert found.forward.executed.total == PATCH + BLOCKS * (ATTENTION + MLP) + HEAD
    assert found.forward.executed.experts == found.forward.executed.padding == 0
    assert found.parameters_active == found.parameters_total
    assert found.layers == [] and found.slots_per_token == 1
    # three forwards; less the gradient of the images themselves, which nobody needs; and
    # attention's backward computes the scores once more: 2 · T² · D a block
    again = BLOCKS * 2 * TOKENS * TOKENS * WIDTH
    assert found.training.executed.total == 3 * found.forward.executed.total - PATCH + again


def test_token_choice_without_limit_costs_the_dense_model_and_its_gate() -> None:
    model = moefy(vit(), "token_choice", num_experts=4)
    executed = cost(model, images(), routings=observed_routings(model, images())).forward.executed
    assert executed.experts == pytest.approx(
        2 * MLP
    )  # two of the four blocks, K = 1: each token once
    assert executed.backbone == PATCH + BLOCKS * ATTENTION + 2 * MLP + HEAD
    assert executed.router == 2 * (2 * TOKENS * WIDTH * 4)
    # a multiply-add for each row that runs, those that fill up a pair of experts included
    row = 2 * 2 * WIDTH * HIDDEN
    assert executed.dispatch_combine == pytest.approx(
        (executed.experts + executed.padding) / row * 2 * WIDTH
    )
    assert 0 <= executed.padding <= executed.experts / 7  # at most 8/7 of the rows run


def test_empty_slots_are_padding() -> None:
    # capacity 2 · 16 / 4 = 8 slots for each of 4 experts: 32 slots for at most 16 pairs; training
    # takes three products
    found = cost(
        moefy(vit(), "token_choice", num_experts=4, slots_per_token=2.0, layers=[-1]), images()
    )
    row = 2 * 2 * WIDTH * HIDDEN
    executed, activated = found.training.executed, found.training.activated
    assert executed.experts + executed.padding == pytest.approx(3 * 32 * row)
    assert executed.padding >= 3 * 16 * row
    assert activated.padding == 0 and activated.experts == executed.experts
    assert activated.dispatch_combine < executed.dispatch_combine


def test_soft_moe_by_hand() -> None:
    # 4 experts of ceil(1 · 16 / 4) = 4 slots: logits, dispatch and combine are three products of
    # [16, 16] and [16, 16]
    executed = cost(moefy(vit(), "soft", num_experts=4, layers=[-1]), images()).forward.executed
    einsum = 2 * TOKENS * 16 * WIDTH
    assert executed.router == einsum
    assert executed.dispatch_combine == 2 * einsum
    assert executed.experts == MLP


def test_active_parameters_by_hand() -> None:
    # an expert has 16·64 + 64 + 64·16 + 16 = 2128 parameters; with one slot per token 3 of 4
    # experts are inactive
    dense = vit()
    found = cost(moefy(copy.deepcopy(dense), "token_choice", num_experts=4, layers=[-1]), images())
    total = sum(p.numel() for p in dense.parameters()) + 3 * 2128 + 4 * WIDTH
    assert found.parameters_total == total
    assert found.parameters_active == total - 3 * 2128
    (layer,) = found.layers
    assert (layer.parameters_total, layer.parameters_active) == (
        4 * 2128 + 4 * WIDTH,
        2128 + 4 * WIDTH,
    )


@pytest.mark.parametrize(
    "router", long_except(router_names(), "expert_choice", "soft", "token_choice", "top_p", "usmoe")
)
def test_analytic_is_counted_for_every_router(router: str) -> None:
    torch.manual_seed(0)
    draws = router == "comparison"  # the tokens that it compares
    assert_as_counted(moefy(vit(), router, num_experts=4), images(), tolerance=0.01 if draws else 0)


def test_soft_ablations_are_counted() -> None:
    for options in (
        {"dispatch": "uniform"},
        {"combine": "uniform"},
        {"dispatch": "identity", "combine": "identity"},
    ):
        assert_as_counted(moefy(vit(), "soft", num_experts=4, **options), images())


FAMILIES: dict[str, dict[str, Any]] = {
    "deit_tiny_patch16_224": {"img_size": 32, "embed_dim": 48, "depth": 2},
    "mixer_s32_224": {"img_size": 64},
    "swin_tiny_patch4_window7_224": {
        "img_size": 56,
        "embed_dim": 24,
        "depths": (1, 1, 2, 1),
        "window_size": 7,
    },
    "convnext_atto": {"dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1)},
    "eva02_tiny_patch14_224": {"img_size": 56, "embed_dim": 48, "depth": 2, "num_heads": 3},
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "router", long_except(["dense", "soft", "token_choice", "expert_choice"], "token_choice")
)
def test_analytic_is_counted_for_every_family(name: str, router: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10, **FAMILIES[name])
    size = FAMILIES[name].get("img_size", 64)
    x = torch.randn(2, 3, size, size)
    assert_as_counted(moefy(model, router, num_experts=4, example=x), x)


def test_the_meta_device_gives_the_same() -> None:
    torch.manual_seed(0)
    real = cost(moefy(vit(), "expert_choice", num_experts=4), images())
    with torch.device("meta"):
        model = moefy(vit(), "expert_choice", num_experts=4)
    found = cost(model, images().to("meta"))
    assert found.forward == real.forward and found.training == real.training
    assert (found.parameters_total, found.activation_bytes) == (
        real.parameters_total,
        real.activation_bytes,
    )


def test_an_adaptive_router_is_expected_at_its_budget() -> None:
    model = moefy(vit(), "relu", num_experts=4, slots_per_token=1.5, layers=[-1])
    expected = cost(model, images())
    found = cost(model, images(), routings=observed_routings(model, images()))
    assert expected.slots_per_token == 1.5 and expected.forward.executed.experts == pytest.approx(
        1.5 * MLP
    )
    assert found.slots_per_token > 1.6  # half of the gates or more are open before training


def test_accounting_changes_nothing() -> None:
    model = moefy(vit(), "relu", num_experts=4).train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    cost(model, images())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and model.training
    assert all(p.grad is None for p in model.parameters())


def test_attention_with_fewer_heads_of_keys_than_of_queries() -> None:
    # 4 heads of queries [5, 8] meet keys [7, 8] and values [7, 8]: 2·4·5·7·8 each for scores and
    # their product
    query, key = torch.randn(1, 4, 5, 8, requires_grad=True), torch.randn(1, 2, 7, 8)

    def forward() -> None:
        F.scaled_dot_product_attention(query, key, key, enable_gqa=True)

    with torch.no_grad():
        assert count_flops(forward).total == 2 * 2 * 4 * 5 * 7 * 8
    # backward: gradients of queries and keys and the scores once more over 8, gradients of scores
    # and values over 8
    assert FORMULAS[KERNEL_BACKWARD](None, query.shape, key.shape, key.shape) == 2 * 4 * 5 * 7 * (
        3 * 8 + 2 * 8
    )
