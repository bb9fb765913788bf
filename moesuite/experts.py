"""E copies of a block's MLP as stacked weights, whatever library the MLP came from.

`read_mlp` recognises an MLP by its parts and returns a `DenseMLP`, the one form that the rest of the engine knows:
    plain:  down(dropout1(norm(act(up x))))          gated:  down(norm(dropout1(act(gate x) · up x)))
`Experts` stacks E copies: weights [E, in, out], so that one batched matmul serves all experts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.grouped import Layout, grouped_linear


@dataclass(frozen=True)
class DenseMLP:
    """An MLP taken apart. Weights are [out, in], as in `nn.Linear`."""

    up: nn.Linear
    gate: nn.Linear | None
    down: nn.Linear
    act: nn.Module
    drop1: nn.Module
    norm: nn.LayerNorm | None
    drop2: nn.Module
    channels_first: bool = False  # tokens come as [G, D, height, width]


def read_mlp(module: nn.Module) -> DenseMLP | None:
    """Take an MLP of timm apart: `Mlp`, `ConvMlp`, `GluMlp` and `SwiGLU`; None for anything else.

    Convolutions wider than 1x1, MLPs that mix tokens inside (global response norm, spatial gates) and norms other
    than LayerNorm have no expert form and give None.
    """
    parts = {name: child for name, child in module.named_children() if not isinstance(child, nn.Identity)}
    layers = [name for name in ("fc1", "fc1_g", "fc1_x", "fc2") if name in parts]
    linears = {name: linear for name in layers if (linear := _as_linear(parts.pop(name))) is not None}
    norm, act = parts.pop("norm", None), parts.pop("act", None)
    drops = [parts.pop(name, nn.Identity()) for name in ("drop", "drop1", "drop2")]
    if parts or act is None or "fc2" not in linears or len(linears) < max(2, len(layers)):
        return None
    if not isinstance(norm, nn.LayerNorm | None):
        return None
    if "fc1_g" in linears:
        gate, up = linears["fc1_g"], linears["fc1_x"]
    elif hasattr(module, "gate_last"):
        first, second = _halves(linears["fc1"])
        gate, up = (second, first) if module.gate_last else (first, second)
    else:
        gate, up = None, linears["fc1"]
    channels_first = isinstance(module.fc2, nn.Conv2d)
    drop1 = drops[0] if channels_first else drops[1]  # ConvMlp has one dropout, between its layers
    return DenseMLP(up, gate, linears["fc2"], act, drop1, norm, drops[2], channels_first)


def _as_linear(layer: nn.Module) -> nn.Linear | None:
    """Return a linear layer or a 1x1 convolution as `nn.Linear`; None for anything else."""
    if type(layer) is nn.Linear:
        return layer
    if type(layer) is not nn.Conv2d or layer.kernel_size != (1, 1) or layer.groups != 1:
        return None
    linear = nn.utils.skip_init(nn.Linear, layer.in_channels, layer.out_channels, layer.bias is not None)
    linear.weight = nn.Parameter(layer.weight.detach().flatten(1))
    linear.bias = layer.bias
    return linear


def _halves(packed: nn.Linear) -> tuple[nn.Linear, nn.Linear]:
    """Split a linear layer with two outputs packed side by side."""
    halves = []
    for index in range(2):
        half = nn.utils.skip_init(nn.Linear, packed.in_features, packed.out_features // 2, packed.bias is not None)
        half.weight = nn.Parameter(packed.weight.detach().chunk(2)[index].clone())
        if packed.bias is not None:
            half.bias = nn.Parameter(packed.bias.detach().chunk(2)[index].clone())
        halves.append(half)
    return halves[0], halves[1]


class StackedLinear(nn.Module):
    """E linear layers side by side, [E, N, in] -> [E, N, out], each an exact copy of `dense`."""

    def __init__(self, dense: nn.Linear, num_experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(dense.weight.detach().t().repeat(num_experts, 1, 1))  # [E, in, out]
        self.bias = None
        if dense.bias is not None:
            self.bias = nn.Parameter(dense.bias.detach().repeat(num_experts, 1))  # [E, out]

    def forward(self, x: Float[Tensor, "E N in"]) -> Float[Tensor, "E N out"]:
        """Apply layer e to x[e]."""
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias[:, None], x, self.weight)

    def ragged(self, x: Float[Tensor, "N in"], where: Layout) -> Float[Tensor, "N out"]:
        """Apply layer e to the rows of x that `where` gives it."""
        return grouped_linear(x, self.weight, self.bias, where)


class StackedLayerNorm(nn.Module):
    """E layer norms side by side, [E, N, D] -> [E, N, D], each an exact copy of `dense`."""

    def __init__(self, dense: nn.LayerNorm, num_experts: int) -> None:
        super().__init__()
        self.shape, self.eps = dense.normalized_shape, dense.eps
        self.weight = self.bias = None
        if dense.weight is not None:
            self.weight = nn.Parameter(dense.weight.detach().repeat(num_experts, 1))
        if dense.bias is not None:
            self.bias = nn.Parameter(dense.bias.detach().repeat(num_experts, 1))

    def forward(self, x: Float[Tensor, "E N D"]) -> Float[Tensor, "E N D"]:
        """Apply norm e to x[e]."""
        x = F.layer_norm(x, self.shape, eps=self.eps)
        x = x if self.weight is None else x * self.weight[:, None]
        return x if self.bias is None else x + self.bias[:, None]

    def ragged(self, x: Float[Tensor, "N D"], where: Layout) -> Float[Tensor, "N D"]:
        """Apply norm e to the rows of x that `where` gives it."""
        expert = where.experts(x.device)
        x = F.layer_norm(x, self.shape, eps=self.eps)
        x = x if self.weight is None else x * self.weight[expert]
        return x if self.bias is None else x + self.bias[expert]


class Experts(nn.Module):
    """E experts, each starting as an exact copy of `mlp`.

    Args:
        mlp: the dense MLP; activation and dropouts are kept.
        num_experts: E, >= 1.
    """

    def __init__(self, mlp: DenseMLP, num_experts: int) -> None:
        super().__init__()
        self.num_experts, self.dim = num_experts, mlp.up.in_features
        self.up = StackedLinear(mlp.up, num_experts)
        self.gate = None if mlp.gate is None else StackedLinear(mlp.gate, num_experts)
        self.norm = None if mlp.norm is None else StackedLayerNorm(mlp.norm, num_experts)
        self.down = StackedLinear(mlp.down, num_experts)
        self.act, self.drop1, self.drop2 = mlp.act, mlp.drop1, mlp.drop2

    @property
    def flops_per_row(self) -> int:
        """Multiply-adds of one expert on one token, times 2; biases and activations are not counted."""
        layers = [layer for layer in (self.up, self.gate, self.down) if layer is not None]
        return sum(2 * layer.weight[0].numel() for layer in layers)

    def forward(self, x: Float[Tensor, "E N D"]) -> Float[Tensor, "E N D"]:
        """Apply expert e to x[e]."""
        return self._mlp(x, lambda layer, value: layer(value))

    def ragged(self, x: Float[Tensor, "N D"], where: Layout) -> Float[Tensor, "N D"]:
        """Apply expert e to the rows of x that `where` gives it."""
        return self._mlp(x, lambda layer, value: layer.ragged(value, where))

    def _mlp(self, x: Tensor, apply: Callable[[StackedLinear | StackedLayerNorm, Tensor], Tensor]) -> Tensor:
        hidden = apply(self.up, x)
        hidden = self.act(hidden) if self.gate is None else self.act(apply(self.gate, x)) * hidden
        hidden = self.drop1(hidden)
        hidden = hidden if self.norm is None else apply(self.norm, hidden)
        return self.drop2(apply(self.down, hidden))
