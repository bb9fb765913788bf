"""Linear layers of experts with different numbers of rows.

Two experts of similar load run in one batched matmul, so that each of two threads has one: any two
weights of a stack are a strided view, `weight[i :: j - i][:2]`, which costs no copy. `layout`
places the rows for that and pads an expert to the height of its partner. One matmul per expert, and
`torch.nn.functional.grouped_mm`, are up to a fifth slower on a CPU (`python -m
moesuite.benchmarks.speed.layouts`); one batched matmul as high as the fullest expert is slower than
either.

Indexing `weight[e]` under autograd would allocate a full-size zero gradient per expert, and
`weight.unbind(0)` would copy all gradients; here each expert's gradient is written in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

SIMILAR = 0.75  # an expert joins one with more rows if it has at least this share of them


class Tile(NamedTuple):
    """One or two experts with `height` rows each; `experts` selects them from a stack."""

    experts: slice
    size: int
    height: int


@dataclass(frozen=True)
class Layout:
    """Placement of the rows of each expert.

    Attributes:
        tiles: in the order of their rows.
        begins: first row of each expert, [E].
        rows: N, rows of all tiles together, at most 8/7 of those of the experts.
    """

    tiles: list[Tile]
    begins: list[int]
    rows: int

    def split(
        self, rows: Float[Tensor, "N D"]
    ) -> Iterator[tuple[slice, Float[Tensor, "size height D"]]]:
        """Yield (experts, their rows) of each tile."""
        parts = rows.split([tile.size * tile.height for tile in self.tiles])
        for tile, part in zip(self.tiles, parts, strict=True):
            yield tile.experts, part.unflatten(0, (tile.size, tile.height))

    def experts(self, device: torch.device) -> Int[Tensor, " N"]:
        """Return the expert of each row."""
        index = torch.arange(len(self.begins), device=device)
        return torch.cat(
            [index[tile.experts].repeat_interleave(tile.height) for tile in self.tiles]
        )


def layout(counts: Sequence[int]) -> Layout:
    """Place `counts[e]` rows for each expert, experts of similar counts side by side."""
    waiting = sorted(range(len(counts)), key=lambda expert: -counts[expert])
    tiles: list[Tile] = []
    begins = [0] * len(counts)
    rows = 0
    while waiting:
        chosen = [waiting.pop(0)]
        height = counts[chosen[0]]
        if waiting and counts[waiting[0]] >= SIMILAR * height:
            chosen = sorted([*chosen, waiting.pop(0)])
        tiles.append(
            Tile(slice(chosen[0], chosen[-1] + 1, chosen[-1] - chosen[0] or 1), len(chosen), height)
        )
        for expert in chosen:
            begins[expert] = rows
            rows += height
    return Layout(tiles, begins, rows)


def grouped_linear(
    x: Float[Tensor, "N D"],
    weight: Float[Tensor, "E D H"],
    bias: Float[Tensor, "E H"] | None,
    where: Layout,
) -> Float[Tensor, "N H"]:
    """Apply layer e to its rows of x, given by `where`; under autocast in its precision."""
    if not x.is_meta and torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return _GroupedLinear.apply(x, weight, bias, where)


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, where: Layout) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.where = where
        ctx.has_bias = bias is not None
        y = x.new_empty(len(x), weight.shape[2])
        for (experts, rows), (_, out) in zip(where.split(x), where.split(y), strict=True):
            if bias is None:
                torch.bmm(rows, weight[experts], out=out)
            else:
                torch.baddbmm(bias[experts, None], rows, weight[experts], out=out)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_y: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        by_y = by_y.contiguous()
        by_x = torch.empty_like(x)
        by_weight = torch.empty_like(weight)
        by_bias = weight.new_empty(len(weight), weight.shape[2]) if ctx.has_bias else None
        split = ctx.where.split
        for (experts, rows), (_, grad), (_, out) in zip(
            split(x), split(by_y), split(by_x), strict=True
        ):
            torch.bmm(rows.mT, grad, out=by_weight[experts])
            if ctx.needs_input_grad[0]:
                torch.bmm(grad, weight[experts].mT, out=out)
            if by_bias is not None:
                torch.sum(grad, dim=1, out=by_bias[experts])
        return by_x if ctx.needs_input_grad[0] else None, by_weight, by_bias, None
