"""Experts: E copies of a dense MLP as stacked weights.

Stacked weights are [E, in, out]; one batched matmul serves all experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.nn.grouped_linear import Layout, grouped_linear
from moesuite.nn.trained_experts import FusedExperts, SeparateExperts


@dataclass(frozen=True)
class DenseMLP:
    """The parts of an MLP. Weights are [out, in], as in `nn.Linear`."""

    up: nn.Linear
    gate: nn.Linear | None
    down: nn.Linear
    act: nn.Module
    drop1: nn.Module
    norm: nn.LayerNorm | None
    drop2: nn.Module
    channels_first: bool = False  # tokens are [G, D, height, width]

    def __call__(self, x: Float[Tensor, "*shape D"]) -> Float[Tensor, "*shape D"]:
        """Apply the MLP to tokens, the width last whatever `channels_first` says."""
        hidden = self.up(x) if self.gate is None else self.gate(x)
        hidden = self.act(hidden)
        hidden = hidden if self.gate is None else hidden * self.up(x)
        hidden = self.drop1(hidden)
        if (norm := self.norm) is not None:
            hidden = F.layer_norm(hidden, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        return self.drop2(self.down(hidden))


class StackedLinear(nn.Module):
    """E linear layers side by side, [E, N, in] -> [E, N, out], each an exact copy of `dense`.

    They are frozen where `dense` is.
    """

    def __init__(self, dense: nn.Linear, num_experts: int) -> None:
        super().__init__()
        transposed = dense.weight.detach().t()  # [in, out]
        weight = transposed.new_empty(num_experts, *transposed.shape)
        # transpose once, then copy in order: `repeat` of the transposed view takes two to three
        # times as long
        weight[0] = transposed
        weight[1:] = weight[0]
        self.weight = nn.Parameter(weight, dense.weight.requires_grad)  # [E, in, out]
        self.bias = None
        if dense.bias is not None:
            self.bias = _repeated(dense.bias, num_experts)  # [E, out]

    def forward(
        self, x: Float[Tensor, "*rows in"], where: Layout | None = None
    ) -> Float[Tensor, "*rows out"]:
        """Apply layer e to x[e] of [E, N, in], or to its rows of [N, in], given by `where`.

        Always by a call of the module: adapters such as peft's change its weights within calls.
        """
        if where is not None:
            return grouped_linear(x, self.weight, self.bias, where)
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias[:, None], x, self.weight)


class StackedLayerNorm(nn.Module):
    """E layer norms side by side, [E, N, D] -> [E, N, D], each an exact copy of `dense`."""

    def __init__(self, dense: nn.LayerNorm, num_experts: int) -> None:
        super().__init__()
        self.shape = dense.normalized_shape
        self.eps = dense.eps
        self.weight = self.bias = None
        if dense.weight is not None:
            self.weight = _repeated(dense.weight, num_experts)
        if dense.bias is not None:
            self.bias = _repeated(dense.bias, num_experts)

    def forward(
        self, x: Float[Tensor, "*rows D"], where: Layout | None = None
    ) -> Float[Tensor, "*rows D"]:
        """Apply norm e to x[e] of [E, N, D], or to its rows of [N, D], given by `where`."""
        x = F.layer_norm(x, self.shape, eps=self.eps)
        # all experts, each for the rows of its batch; or the expert of each row
        experts = (slice(None), None) if where is None else where.experts(x.device)
        x = x if self.weight is None else x * self.weight[experts]
        return x if self.bias is None else x + self.bias[experts]


def _repeated(vector: nn.Parameter, num_experts: int) -> nn.Parameter:
    return nn.Parameter(vector.detach().repeat(num_experts, 1), vector.requires_grad)


class Experts(nn.Module):
    """E experts, initialised as exact copies of `mlp`.

    Args:
        mlp: the dense MLP; its activation and dropouts are shared, not copied.
        num_experts: E, >= 1.
    """

    def __init__(self, mlp: DenseMLP, num_experts: int) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.dim = mlp.up.in_features
        self.up = StackedLinear(mlp.up, num_experts)
        self.gate = None if mlp.gate is None else StackedLinear(mlp.gate, num_experts)
        self.norm = None if mlp.norm is None else StackedLayerNorm(mlp.norm, num_experts)
        self.down = StackedLinear(mlp.down, num_experts)
        self.act = mlp.act
        self.drop1 = mlp.drop1
        self.drop2 = mlp.drop2

    @property
    def flops_per_row(self) -> int:
        """FLOPs of one expert on one token: 2 per multiply-add; no biases, no activations."""
        layers = [layer for layer in (self.up, self.gate, self.down) if layer is not None]
        return sum(2 * layer.weight[0].numel() for layer in layers)

    def forward(
        self, x: Float[Tensor, "*rows D"], where: Layout | None = None
    ) -> Float[Tensor, "*rows D"]:
        """Apply expert e to x[e] of [E, N, D], or to its rows of [N, D], given by `where`."""
        hidden = self.up(x, where)
        hidden = self.act(hidden) if self.gate is None else self.act(self.gate(x, where)) * hidden
        hidden = self.drop1(hidden)
        hidden = hidden if self.norm is None else self.norm(hidden, where)
        return self.drop2(self.down(hidden, where))

    def ragged(self, x: Float[Tensor, "N D"], where: Layout) -> Float[Tensor, "N D"]:
        """Apply expert e to its rows of x; a call of the module, whose hooks FSDP needs."""
        return self(x, where)


AnyExperts = Experts | FusedExperts | SeparateExperts
