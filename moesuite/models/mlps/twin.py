"""A twin of a model: a copy with other tensors, which calls none of the model's hooks."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


def twin(module: nn.Module, tensor_for: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a copy of a module with `tensor_for(tensor)` in place of each parameter and buffer.

    The tensors are not copied, nor are configurations of Hugging Face.
    """
    memo: dict[int, Any] = {}
    for tensor in chain(module.parameters(), module.buffers()):
        new = tensor_for(tensor)
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(new, requires_grad=False) if is_parameter else new
    for part in module.modules():
        for value in vars(part).values():
            if hasattr(value, "to_json_string"):
                memo[id(value)] = value
    copied = copy.deepcopy(module, memo)
    for part in copied.modules():
        part._forward_hooks = OrderedDict()
        part._forward_pre_hooks = OrderedDict()
    return copied


def with_random_weights(module: nn.Module) -> nn.Module:
    """Return a copy of a module without hooks, whose weights are random float32."""
    random = torch.Generator().manual_seed(0)
    return twin(module, lambda tensor: _random_like(tensor, random))


def _random_like(tensor: Tensor, random: torch.Generator) -> Tensor:
    """Return values that keep the scale of tokens if `tensor` is a matrix, else around 1."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype) if tensor.is_meta else tensor.cpu()
    value = torch.empty(tensor.shape).uniform_(-1, 1, generator=random)
    if tensor.ndim < 2:
        return 1 + value / 2
    return value * (3 / max(1, tensor.numel()) ** 0.5) ** 0.5
