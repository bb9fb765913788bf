"""Depth tiling: make a trained model deeper by repeating its stack of blocks.

Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher" (2021),
https://arxiv.org/abs/2112.11446; a control in Komatsuzaki et al., "Sparse Upcycling" (2022),
https://arxiv.org/abs/2212.05055: the dense way to more parameters, where upcycling makes a model
wider. Here the copies follow after the last block.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.models.candidates import candidates


def tile_depth(model: Any, times: int) -> nn.Module:
    """Repeat the blocks of `model`, in place; each copy has its own weights.

    b1 b2 becomes b1 b2 b1 b2 for `times` = 2.

    Args:
        model: of timm or Hugging Face, with one stack of blocks that have an MLP each.
        times: number of copies of the stack in the new model, >= 1.

    Raises:
        UserError: for a model of several stacks (Swin, encoder-decoders), or none.
    """
    if times == 1:
        return model
    names = [candidate.name for candidate in candidates(model)]
    stacks = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Sequential | nn.ModuleList)
        and len(module) > 0
        and len(module) == sum(other.startswith(f"{name}.") for other in names) == len(names)
        and all(_shapes(block) == _shapes(module[0]) for block in module)
    ]
    if len(stacks) != 1:
        raise UserError(
            f"tile_depth={times}: {type(model).__name__} has no single stack of blocks with an MLP "
            "each; expected ViT, BERT, GPT-2, LLaMA and their kin; type tile_depth=1"
        )
    stack = model.get_submodule(stacks[0])
    blocks = list(stack)
    for _ in range(1, times):
        blocks += [copy.deepcopy(block) for block in stack]
    for index, block in enumerate(blocks):  # index of the block's key-value cache
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = index
    model.set_submodule(
        stacks[0],
        nn.Sequential(*blocks) if isinstance(stack, nn.Sequential) else nn.ModuleList(blocks),
    )
    recipe = getattr(model, "built_from", None)
    if recipe is not None:  # saved models are rebuilt from it
        model.built_from = {**recipe, "tile_depth": times * recipe.get("tile_depth", 1)}
    config = getattr(model, "config", None)
    for option in ("num_hidden_layers", "layer_types"):
        if (value := getattr(config, option, None)) is not None:
            setattr(config, option, value * times)
    return model


def _shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in module.parameters()]
