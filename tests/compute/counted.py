"""FLOPs and bytes as PyTorch counts them in a run, to compare the analytic figures with."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from moesuite import aux_loss
from moesuite.compute.cost import observed_routings
from moesuite.compute.flop_counter import Counted, SavedTensors, count_flops
from moesuite.compute.passes import Inputs, Pass, account
from moesuite.models.forward import call
from moesuite.nn.moe import moe_layers
from moesuite.routing.forms import Routing


def run_once(model: nn.Module, x: Inputs) -> tuple[Counted, Counted, int, dict[str, Routing]]:
    """Run the real model, and count an evaluation and a training step.

    Returns also what autograd keeps for the backward pass, and the routing of training.
    """
    with torch.no_grad():
        forward = count_flops(lambda: call(model.eval(), x))
    twin = copy.deepcopy(model).train()
    saved = SavedTensors([*twin.parameters(), *twin.buffers()])

    def step() -> None:
        with saved:
            output = call(twin, x)
        logits = output if isinstance(output, torch.Tensor) else output.logits
        (logits.sum() + aux_loss(twin)).backward()

    training = count_flops(step)
    return (
        forward,
        training,
        saved.bytes,
        {name: layer.routing for name, layer in moe_layers(twin) if layer.routing},
    )


def products(found: Pass) -> float:
    """FLOPs of matrix products: gathers and scatters are none."""
    return found.backbone + sum(layer.counted for layer in found.layers.values())


def assert_as_counted(model: nn.Module, x: Inputs, tolerance: float = 0) -> None:
    """Check that analytic costs equal counted ones, and that parts add up.

    FLOPs have to be equal, bytes within a relative tolerance.
    """
    forward, training, saved, routings = run_once(model, x)
    ours = account(model, x, False, observed_routings(model, x))
    step = account(model, x, True, routings)
    assert forward.total == products(ours)
    assert training.total == products(step)
    assert saved == pytest.approx(step.saved, rel=tolerance)
    assert not forward.uncounted | training.uncounted | ours.uncounted | step.uncounted
    for layer in (*ours.layers.values(), *step.layers.values()):
        assert (
            layer.executed.total
            >= layer.counted
            >= layer.executed.total - layer.executed.dispatch_combine
        )
        assert layer.activated.total <= layer.executed.total


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
