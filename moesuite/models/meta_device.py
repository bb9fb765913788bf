"""The meta device takes the kernels of real devices, so that what it counts is what they do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class KernelsOfRealDevices(TorchFunctionMode):
    """Within this, meta tensors take the way of tensors with values.

    Attention is one kernel, where a real device uses that one: its backward pass computes the
    scores once more, which the plain form of the meta device does not. And `if tensor:` is yes:
    what Hugging Face's models ask is whether masks are all ones and sequences in one piece.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention and args and args[0].is_meta:
            return _attention(*args, **(kwargs or {}))
        if func is Tensor.__bool__ and args[0].is_meta:
            return True
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **options: Any
) -> Tensor:
    if options.get("dropout_p") or (attn_mask is not None and attn_mask.requires_grad):
        return F.scaled_dot_product_attention(query, key, value, attn_mask, **options)
    output, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query,
        key,
        value,
        0.0,
        bool(options.get("is_causal")),
        attn_mask=attn_mask,
        scale=options.get("scale"),
    )
    return output
