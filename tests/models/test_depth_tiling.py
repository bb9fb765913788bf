"""Depth tiling: the stack of blocks, twice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch

from moesuite import UserError, compose, fit
from moesuite.models.depth_tiling import tile_depth
from moesuite.train.build import build_models, build_task
from tests.surgery.dense_models import VIT, build
from tests.train.dense_runs import QUIET


def test_depth_tiling_repeats_the_stack() -> None:
    model = build("vit")
    deep: Any = tile_depth(copy.deepcopy(model), 3)
    assert len(deep.blocks) == 6 and deep(torch.randn(1, 3, 16, 16)).shape == (1, 5)
    for index, block in enumerate(deep.blocks):
        original = model.blocks[index % 2]
        assert all(
            torch.equal(a, b)
            for a, b in zip(block.parameters(), original.parameters(), strict=True)
        )
    assert len({id(parameter) for parameter in deep.parameters()}) == len(list(deep.parameters()))


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "qwen2"])
def test_depth_tiling_of_text_models(name: str) -> None:
    deep: Any = tile_depth(build(name), 2)
    assert deep.config.num_hidden_layers == 4
    ids = torch.arange(12).view(2, 6)
    hidden = deep(input_ids=ids, output_hidden_states=True).hidden_states
    assert len(hidden) == 5


def test_depth_tiling_needs_one_stack() -> None:
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", embed_dim=24, depths=(1, 1), num_heads=(1, 1)
    )
    with pytest.raises(
        UserError, match="tile_depth=2: SwinTransformer has no single stack of blocks"
    ):
        tile_depth(swin, 2)
    assert tile_depth(timm.create_model("vit_tiny_patch16_224", **VIT), 1) is not None
    with pytest.raises(UserError, match="tile_depth=2 repeats trained blocks; add upcycle="):
        fit(compose("tile_depth=2", *QUIET))
    with pytest.raises(
        UserError, match="init=a.ckpt and upcycle=timm:vit_tiny_patch16_224 both name weights"
    ):
        build_models(
            compose("init=a.ckpt", "upcycle=timm:vit_tiny_patch16_224"),
            build_task(compose().task),
            None,
        )
