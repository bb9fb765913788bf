"""Experts of a trained model: its weights are used in place, none is copied."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite.nn.grouped_linear import Layout, grouped_linear

# names of stacked weights; those of `up` hold the gate too, if there is one
UP, DOWN = ("gate_up_proj", "up_proj"), "down_proj"


class FusedExperts(nn.Module):
    """E experts on the stacked weights of a Hugging Face module, [E, N, D] -> [E, N, D].

    The module's own code combines gate and up projection, whichever their order and clamping are.

    Args:
        experts: has `gate_up_proj` [E, 2H, D], or `up_proj` [E, H, D] without a gate, and
            `down_proj` [E, D, H]; all transposed where `is_transposed` says so; biases are named
            like `down_proj_bias` [E, D].
        scale: factor of the outputs, where the model scales its combine weights.
    """

    def __init__(self, experts: Any, scale: float = 1.0) -> None:
        super().__init__()
        for name, weight in experts.named_parameters(recurse=False):
            self.register_parameter(name, weight)
        self.up = next(name for name in UP if hasattr(experts, name))
        self.act = _Activation(experts, gated=self.up == UP[0])
        self.transposed = is_transposed(experts)
        self.scale = scale
        self.num_experts = len(experts.down_proj)
        self.dim = experts.down_proj.shape[2 if self.transposed else 1]

    @property
    def flops_per_row(self) -> int:
        """FLOPs of one expert on one token: 2 per multiply-add; no biases, no activations."""
        return sum(2 * getattr(self, name)[0].numel() for name in (self.up, DOWN))

    def forward(
        self, x: Float[Tensor, "*rows D"], where: Layout | None = None
    ) -> Float[Tensor, "*rows D"]:
        """Apply expert e to x[e] of [E, N, D], or to its rows of [N, D], given by `where`."""
        if where is not None:
            return self._of_rows(x, where)

        def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias[:, None], x, weight)

        return self._mlp(x, linear)

    def ragged(self, x: Float[Tensor, "N D"], where: Layout) -> Float[Tensor, "N D"]:
        """Apply expert e to its rows of x; a call of the module, whose hooks FSDP needs."""
        return self(x, where)

    def _of_rows(self, x: Tensor, where: Layout) -> Tensor:
        return self._mlp(x, lambda x, weight, bias: grouped_linear(x, weight, bias, where))

    def _mlp(self, x: Tensor, linear: Callable[[Tensor, Tensor, Tensor | None], Tensor]) -> Tensor:
        hidden = self.act(linear(x, *self._weights(self.up)))
        y = linear(hidden, *self._weights(DOWN))
        return y if self.scale == 1 else y * self.scale

    def _weights(self, name: str) -> tuple[Tensor, Tensor | None]:
        """Return a weight, [E, in, out], and its bias, [E, out]."""
        weight = getattr(self, name)
        return weight if self.transposed else weight.mT, getattr(self, f"{name}_bias", None)


class _Activation(nn.Module):
    """What a Hugging Face module of experts does between its two projections."""

    def __init__(self, experts: Any, gated: bool) -> None:
        super().__init__()
        rule = copy.copy(experts)  # for its limits and slopes; the weights stay with the experts
        rule._parameters = {}
        # not a submodule: loaders initialise the weights of every module of its class
        self.rules = (rule,)
        self.gated = gated

    def forward(self, x: Tensor) -> Tensor:
        """Map the up projection, with the gate in it if there is one, to the hidden layer."""
        (rule,) = self.rules
        if not self.gated:
            return rule.act_fn(x)
        if hasattr(rule, "_apply_gate"):
            return rule._apply_gate(x)
        gate, up = x.chunk(2, dim=-1)
        return rule.act_fn(gate) * up


def is_transposed(experts: Any) -> bool:
    """Return whether weights are [E, in, out]; by their shapes if the module does not say so."""
    declared = getattr(experts, "is_transposed", None)
    if declared is not None:
        return bool(declared)
    up = next(getattr(experts, name) for name in UP if hasattr(experts, name))
    return bool(up.shape[2] != experts.down_proj.shape[1])


class SeparateExperts(nn.Module):
    """E experts that are modules of their own, [E, N, D] -> [E, N, D], run one after the other.

    Args:
        experts: each maps [N, D] to [N, D].
        scale: factor of the outputs, where the model scales its combine weights.
    """

    def __init__(self, experts: nn.ModuleDict, scale: float = 1.0) -> None:
        super().__init__()
        for name, expert in experts.items():
            self.add_module(name, expert)
        self.scale = scale
        self.num_experts = len(experts)
        first = next(iter(experts.values()))
        self.dim = next(weight.shape[1] for weight in first.parameters() if weight.ndim == 2)

    @property
    def flops_per_row(self) -> int:
        """FLOPs of one expert on one token: 2 per multiply-add."""
        first = next(self.children())
        return sum(2 * weight.numel() for weight in first.parameters() if weight.ndim == 2)

    def forward(
        self, x: Float[Tensor, "*rows D"], where: Layout | None = None
    ) -> Float[Tensor, "*rows D"]:
        """Apply expert e to x[e] of [E, N, D], or to its rows of [N, D], given by `where`."""
        if where is not None:
            return self._of_rows(x, where)
        y = torch.stack([expert(rows) for expert, rows in zip(self.children(), x, strict=True)])
        return y * self.scale

    def ragged(self, x: Float[Tensor, "N D"], where: Layout) -> Float[Tensor, "N D"]:
        """Apply expert e to its rows of x; a call of the module, whose hooks FSDP needs."""
        return self(x, where)

    def _of_rows(self, x: Tensor, where: Layout) -> Tensor:
        experts = list(self.children())
        outputs = [
            expert(part)
            for chosen, rows in where.split(x)
            for expert, part in zip(experts[chosen], rows, strict=True)
        ]
        return torch.cat(outputs) * self.scale
