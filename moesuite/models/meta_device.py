"""Make the meta device use the kernels of real devices, and read shapes there."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from moesuite.models.forward import run_once
from moesuite.models.mlps.twin import twin
from moesuite.nn.moe import moe_layers


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


def input_shapes(model: nn.Module, names: Iterable[str], example: Any) -> dict[str, torch.Size]:
    """Return the shapes that parts of a model see, without its values: on the meta device.

    Args:
        model: neither run nor changed.
        names: of the parts.
        example: input of the model.

    Raises:
        Exception: whatever a model raises that needs values.
    """
    shapes: dict[str, torch.Size] = {}

    def store(name: str, _: nn.Module, args: tuple[Any, ...], options: Any) -> None:
        shapes[name] = next(iter((*args, *options.values()))).shape

    shadow = twin(model, partial(Tensor.to, device="meta"))
    for name, _ in list(moe_layers(shadow)):  # routing needs values
        shadow.set_submodule(name, nn.Identity())
    hooks = [
        shadow.get_submodule(name).register_forward_pre_hook(partial(store, name), with_kwargs=True)
        for name in names
    ]
    on_meta = (
        {key: value.to("meta") for key, value in example.items()}
        if isinstance(example, dict)
        else example.to("meta")
    )
    with KernelsOfRealDevices():
        run_once(shadow, on_meta, hooks)
    return shapes
