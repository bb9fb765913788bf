"""One linear layer per expert over rows that are sorted by expert: as many rows for each as it has.

`torch.nn.functional.grouped_mm` does the same at the same speed on a CPU, but refuses widths that are no multiple of 16
bytes and has no bias. Indexing `weight[e]` under autograd would cost a full-size zero gradient per expert, and
`weight.unbind(0)` a copy of all gradients; here each expert's gradient is written where it belongs.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def grouped_linear(
    x: Float[Tensor, "M D"], weight: Float[Tensor, "E D H"], bias: Float[Tensor, "E H"] | None, counts: list[int]
) -> Float[Tensor, "M H"]:
    """Apply layer e to its `counts[e]` rows of `x`; counts sum to M. Under autocast in its precision."""
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return _GroupedLinear.apply(x, weight, bias, counts)


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, counts: list[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.counts, ctx.has_bias = counts, bias is not None
        y = x.new_empty(len(x), weight.shape[2])
        for expert, (rows, out) in enumerate(zip(x.split(counts), y.split(counts), strict=True)):
            if bias is None:
                torch.mm(rows, weight[expert], out=out)
            else:
                torch.addmm(bias[expert], rows, weight[expert], out=out)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_y: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        by_y = by_y.contiguous()
        by_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        by_weight = torch.empty_like(weight)
        by_bias = weight.new_empty(len(weight), weight.shape[2]) if ctx.has_bias else None
        begun = 0
        for expert, count in enumerate(ctx.counts):
            rows = slice(begun, begun := begun + count)
            torch.mm(x[rows].t(), by_y[rows], out=by_weight[expert])
            if by_x is not None:
                torch.mm(by_y[rows], weight[expert].t(), out=by_x[rows])
            if by_bias is not None:
                torch.sum(by_y[rows], dim=0, out=by_bias[expert])
        return by_x, by_weight, by_bias, None
