"""Schedules and weight-decay groups, against numbers worked by hand."""

from __future__ import annotations

import pytest
import timm

from moesuite import moefy
from moesuite.config.sections import Optim
from moesuite.train.optim import learning_rate, parameter_groups


def test_cosine_with_warm_up() -> None:
    # warm-up of 0.1 · 20 = 2 steps: 1/2, 1; then half a cosine over 18 steps: 1 at step 2, 1/2 at
    # step 11, 0 at step 20
    config = Optim(schedule="cosine", warmup=0.1)
    assert [learning_rate(step, 20, config) for step in (0, 1, 2, 11, 20)] == pytest.approx(
        [0.5, 1, 1, 0.5, 0]
    )


def test_cosine_ends_at_the_smallest_learning_rate() -> None:
    # min_lr / lr = 0.1; in the middle 0.1 + 0.9 / 2
    config = Optim(lr=1e-3, schedule="cosine", warmup=0, min_lr=1e-4)
    assert [learning_rate(step, 10, config) for step in (0, 5, 10, 11)] == pytest.approx(
        [1, 0.55, 0.1, 0.1]
    )


def test_inverse_square_root_does_not_depend_on_the_length() -> None:
    # warm-up 4 steps, then sqrt(4 / (step + 1)): 2/3 at step 8, 1/2 at step 15
    config = Optim(schedule="rsqrt", warmup=4)
    assert [learning_rate(step, 100, config) for step in (0, 3, 8, 15)] == pytest.approx(
        [0.25, 1, 2 / 3, 0.5]
    )
    assert learning_rate(15, 10_000, config) == learning_rate(15, 100, config)


def test_constant() -> None:
    config = Optim(schedule="constant", warmup=2)
    assert [learning_rate(step, 10, config) for step in (0, 1, 9)] == pytest.approx([0.5, 1, 1])


def test_no_decay_for_vectors_and_exempt_parameters() -> None:
    model = moefy(timm.create_model("vit_tiny_patch16_224", depth=2), num_experts=4)
    decay, keep = parameter_groups(model, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    kept = {names[id(parameter)] for parameter in keep["params"]}
    assert {
        "pos_embed",
        "cls_token",
        "blocks.0.norm1.weight",
        "blocks.1.mlp.experts.up.bias",
    } <= kept
    decayed = {names[id(parameter)] for parameter in decay["params"]}
    assert {
        "blocks.1.mlp.experts.up.weight",
        "blocks.1.mlp.router.gate.weight",
        "head.weight",
    } <= decayed
    assert (decay["weight_decay"], keep["weight_decay"]) == (0.1, 0.0)
    assert len(kept) + len(decayed) == len(names)
