"""Auxiliary losses reach the objective of any training loop, once."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from moesuite import aux_loss, moefy
from moesuite.nn.context import UNREAD_LIMIT
from moesuite.nn.moe import contexts, unread_losses
from tests.surgery.small_vit import images, small_vit


def test_auxiliary_losses_reach_the_objective_of_any_loop() -> None:
    model = moefy(small_vit(), num_experts=4, balance_weight=1.0, z_weight=0.0).train()
    model(images())
    losses = unread_losses(contexts(model))
    # two layers, each close to balanced at initialisation: 1 each
    assert losses["balance"].item() == pytest.approx(2.0, abs=0.3)
    model(images())
    aux_loss(model).backward()
    assert model.blocks[3].mlp.router.gate.weight.grad.abs().sum() > 0
    assert aux_loss(model).item() == 0  # read once


def test_unread_losses_are_an_error_not_a_silence() -> None:
    model = moefy(small_vit(), num_experts=4).train()
    with pytest.raises(RuntimeError, match="never read"):
        for _ in range(UNREAD_LIMIT + 2):
            model(images())


def test_activation_checkpointing_counts_losses_once() -> None:
    plain = moefy(small_vit(), num_experts=4).train()
    saved = copy.deepcopy(plain)
    saved.set_grad_checkpointing()
    gradients = []
    for model in (plain, saved):
        model.zero_grad()
        (model(images()).square().sum() + aux_loss(model)).backward()
        assert aux_loss(model).item() == 0  # the second pass in backward adds nothing
        gradients.append(model.blocks[3].mlp.router.gate.weight.grad)
    torch.testing.assert_close(*gradients)


def test_reentrant_checkpointing_is_an_error() -> None:
    model = moefy(small_vit(), num_experts=4, layers=[-1]).train()
    block = model.blocks[3]
    x = torch.randn(1, 17, 16, requires_grad=True)
    y = checkpoint(block, x, use_reentrant=True)  # a block by itself: seen in backward
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        y.sum().backward()
    block.forward = partial(checkpoint, block.forward, use_reentrant=True)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        model(images())
