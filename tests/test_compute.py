"""FLOPs and parameters against numbers worked by hand."""

from __future__ import annotations

import copy

import timm
import torch
from torch import nn
from torch.nn import functional as F

from moesuite import moefy
from moesuite.compute import cost, count_flops, training_step_flops
from moesuite.timing import compare, interleaved

# ViT: 16 tokens, width 16, hidden 64, 2 heads, 4 blocks, 10 classes, no class token
TOKENS, WIDTH, HIDDEN, BLOCKS = 16, 16, 64, 4
PATCH = 2 * TOKENS * 4 * WIDTH
ATTENTION = 2 * TOKENS * WIDTH * 4 * WIDTH + 2 * 2 * TOKENS * TOKENS * WIDTH
MLP = 2 * TOKENS * 2 * WIDTH * HIDDEN
HEAD = 2 * WIDTH * 10


def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224",
        img_size=8,
        patch_size=2,
        in_chans=1,
        num_classes=10,
        embed_dim=16,
        depth=4,
        num_heads=2,
        class_token=False,
        global_pool="avg",
    )


def images(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_attention_on_a_cpu_is_counted() -> None:
    # one head of width 4, 5 tokens: q kᵀ and the product with v, each 2 · 5 · 5 · 4 = 200
    q = torch.randn(1, 1, 5, 4)
    assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q))["Global"] == 400


def test_the_dense_model_by_hand() -> None:
    account = cost(vit().eval(), images(), batch=3)
    assert account.executed.total == PATCH + BLOCKS * (ATTENTION + MLP) + HEAD
    assert account.executed.experts == account.executed.padding == 0
    assert account.parameters_active == account.parameters_total


def test_token_choice_without_limit_costs_the_dense_model_and_its_gate() -> None:
    model = moefy(vit(), "token_choice", num_experts=4).eval()
    account = cost(model, images(), batch=3)
    assert account.executed.experts == 2 * MLP  # two of the four blocks, K = 1: each token once
    assert account.executed.backbone == PATCH + BLOCKS * ATTENTION + 2 * MLP + HEAD
    assert account.executed.router == 2 * (2 * TOKENS * WIDTH * 4)
    assert account.executed.dispatch_combine == 2 * (2 * TOKENS * WIDTH)
    assert account.executed.padding == 0 and account.slots_per_token == 1


def test_empty_slots_are_padding() -> None:
    # capacity 2 · 16 / 4 = 8 slots for each of 4 experts: 32 slots for at most 16 pairs
    model = moefy(vit(), "token_choice", num_experts=4, slots_per_token=2.0, layers=[-1]).train()
    account = cost(model, images(), batch=3)
    row = 2 * 2 * WIDTH * HIDDEN
    assert account.executed.experts + account.executed.padding == 32 * row
    assert account.executed.padding >= 16 * row
    assert account.activated.padding == 0 and account.activated.experts == account.executed.experts
    assert account.slots_per_token == 2.0


def test_soft_moe_by_hand() -> None:
    # 4 experts of ceil(1 · 16 / 4) = 4 slots: logits, dispatch and combine are three products of [16, 16] and [16, 16]
    model = moefy(vit(), "soft", num_experts=4, layers=[-1]).eval()
    account = cost(model, images(), batch=3)
    einsum = 2 * TOKENS * 16 * WIDTH
    assert account.executed.router == einsum
    assert account.executed.dispatch_combine == 2 * einsum
    assert account.executed.experts == MLP
    total = count_flops(lambda: model(images()))["Global"] / 3
    assert total == account.executed.total  # every soft product is a matmul that torch counts too


def test_active_parameters_by_hand() -> None:
    # an expert has 16·64 + 64 + 64·16 + 16 = 2128 parameters; with one slot per token 3 of 4 experts are inactive
    dense = vit()
    model = moefy(copy.deepcopy(dense), "token_choice", num_experts=4, layers=[-1]).eval()
    account = cost(model, images(), batch=3)
    total = sum(p.numel() for p in dense.parameters()) + 3 * 2128 + 4 * WIDTH
    assert account.parameters_total == total
    assert account.parameters_active == total - 3 * 2128


def test_a_training_step_by_hand() -> None:
    model = vit()
    forward = cost(model, images(), 3).executed.total * 3
    # three forwards; less the gradient of the images themselves, which nobody needs; and attention's backward
    # computes the scores once more: 2 · T² · D a block
    again = BLOCKS * 2 * TOKENS * TOKENS * WIDTH
    assert training_step_flops(model, images()) == 3 * forward - 3 * PATCH + 3 * again
    assert all(p.grad is None for p in model.parameters())


def test_interleaved_measures_in_turns() -> None:
    calls: list[str] = []
    samples = interleaved([lambda: calls.append("a"), lambda: calls.append("b")], seconds=0.01, least=5, most=5)
    assert [len(sample) for sample in samples] == [5, 5]
    assert calls == ["a", "b"] * 6  # once to warm up


def test_compare_gives_median_and_ratio() -> None:
    x = torch.randn(64, 64)
    found = compare(lambda: [x @ x for _ in range(20)], lambda: x @ x, seconds=0.05)
    assert found.n >= 5 and found.median > 0 and found.iqr >= 0
    assert found.ratio_to_dense > 1
