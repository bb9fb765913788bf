"""The comparison router: it learns which expert the loss prefers."""

from __future__ import annotations

import math

import pytest
import torch

from moesuite.routers.comparison import Comparison
from moesuite.routing.router import LayerSpec


def test_comparison_learns_which_expert_the_loss_prefers() -> None:
    torch.manual_seed(0)
    router = Comparison(LayerSpec(2, 2, 2.0), share=0.5).train()
    x = torch.randn(64, 4, 2)
    routing = router(x)
    # expert 1 always answers with what lowers the loss: the gradient of its weights is -1, of
    # expert 0's +1
    by_weight = torch.tensor([1.0, -1.0])[None, :, None].expand_as(routing.weights)
    (routing.weights * by_weight).sum().add(routing.losses["comparison"]).backward()
    # a step down the gradient must raise logit 1 over logit 0: d(z_0 - z_1) = -lr · x·(g_0 - g_1)
    gradient = router.gate.weight.grad
    assert gradient is not None
    before = router.last.item()
    assert before == pytest.approx(math.log(2), abs=0.05)  # a gate that knows nothing
    with torch.no_grad():
        for _ in range(200):
            router.gate.weight.grad = None
            with torch.enable_grad():
                routing = router(x.abs())
                (routing.weights * by_weight).sum().add(routing.losses["comparison"]).backward()
            router.gate.weight -= 0.5 * router.gate.weight.grad
    assert router.last.item() < 0.3 * before
    assert (router.gate(x.abs()).argmax(dim=-1) == 1).float().mean() > 0.95


def test_comparison_gate_sees_nothing_but_comparisons() -> None:
    torch.manual_seed(0)
    router = Comparison(LayerSpec(4, 4), share=0.5).train()
    router(
        torch.randn(2, 8, 4)
    ).weights.sum().backward()  # the task alone, without the comparisons' loss
    assert router.gate.weight.grad is None or not router.gate.weight.grad.any()
    router.eval()
    assert not router(torch.randn(2, 8, 4)).weights.requires_grad
