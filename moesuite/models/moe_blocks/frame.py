"""What an MoE layer does around its experts, measured with known outputs in place of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from moesuite.models.forward import evaluating, first_tensor
from moesuite.models.moe_blocks.gates import FAILURES, blank

ROWS = 8  # of the check


@dataclass(frozen=True)
class Frame:
    """The output of a layer is scale · experts + shared · shared expert.

    Attributes:
        scale: factor of the experts besides their combine weights.
        shared: factor of the shared expert, before the sigmoid of its gate.
        paired: whether the layer returns the scores of its gate as a second output.
    """

    scale: float
    shared: float
    paired: bool


@torch.no_grad()
def read_frame(module: nn.Module, dim: int, shared: str | None, gate: str | None) -> Frame | str:
    """Return what a layer does around its experts, or why that cannot be read.

    Args:
        module: the layer; its experts are at `experts`.
        dim: width D of a token.
        shared: name of its shared expert, or None.
        gate: name of the sigmoid gate of that, or None.
    """
    with torch.device("cpu"):  # models are loaded on the meta device
        random = torch.Generator().manual_seed(0)
        x, of_experts, of_shared = torch.randn(
            3, 1, ROWS, dim, generator=random, dtype=torch.float32
        )
        bare: Any = copy.copy(module)
        stubs = {"experts": _Known(of_experts)}
        stubs |= {} if shared is None else {shared: _Known(of_shared)}
        stubs |= (
            {} if gate is None else {gate: _Known(torch.zeros(1, ROWS, 1, dtype=torch.float32))}
        )
        bare._modules = {**module._modules, **stubs}
        state = {
            name: blank(value) for name, value in (*bare.named_parameters(), *bare.named_buffers())
        }
        try:
            with evaluating(bare):
                output = functional_call(bare, state, (x,))
        except FAILURES:
            return "its layer cannot be called with tokens alone"
        return _fitted(output, of_experts, of_shared, 1.0 if gate is None else 0.5)


class _Known(nn.Module):
    """Returns what it was given, in the shape of its first argument but for the width."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.value.reshape(*x.shape[:-1], -1)


def _fitted(output: Any, of_experts: Tensor, of_shared: Tensor, half: float) -> Frame | str:
    y, paired = first_tensor(output), isinstance(output, tuple)
    known = torch.stack([of_experts.flatten(), of_shared.flatten()], dim=1)
    if y.numel() == len(known) and (not paired or len(output) == 2):
        factors = torch.linalg.lstsq(known, y.reshape(-1, 1)).solution
        if torch.allclose(known @ factors, y.reshape(-1, 1), atol=1e-4):
            scale, shared = (round(value, 5) for value in factors.flatten().tolist())
            return Frame(scale, shared / half, paired)
    return "its output is no sum of its experts and its shared expert"
