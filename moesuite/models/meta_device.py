"""Make the meta device use the kernels of real devices, so that FLOP counts are theirs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class KernelsOfRealDevices(TorchFunctionMode):
    """Within this mode, meta tensors take the code paths of tensors with values.

    Attention is the fused kernel that real devices use: its backward pass recomputes the scores,
    which the meta device's decomposition does not. And `if tensor:` is true: Hugging Face's models
    test whether masks are all ones and sequences are not packed.
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
