"""What a router is told of its layer, and the weights that routers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.config.schema import BalanceScope
from moesuite.errors import UserError, unknown

FLOAT32 = 4  # bytes; half precision counts to 256 and loses steps of 0.001


@dataclass(frozen=True)
class LayerSpec:
    """What a router needs to know about its layer.

    Args:
        dim: width D of a token, >= 1.
        num_experts: number of experts E, >= 1.
        slots_per_token: expert work per token relative to the dense MLP, E·C/T, in (0, E].
        eval_slots_per_token: the same in evaluation, in (0, E]; None: as in training, or without a
            limit for a router that drops.
        tokens: tokens T of a group, if all inputs have the same number (images); else None.
        balance_scope: the tokens that balance losses and running statistics pool in training:
            "global" (the batch on all processes), "local" (the share of this process) or
            "sequence" (each group by itself).

    Raises:
        UserError: for a value outside its range.
    """

    dim: int
    num_experts: int
    slots_per_token: float = 1.0
    eval_slots_per_token: float | None = None
    tokens: int | None = None
    balance_scope: BalanceScope = "global"

    def __post_init__(self) -> None:
        if self.num_experts < 1:
            raise UserError(
                f"num_experts={self.num_experts}: expected at least 1, e.g. num_experts=8"
            )
        for name in ("slots_per_token", "eval_slots_per_token"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= self.num_experts:
                raise UserError(
                    f"{name}={value}: expected more than 0 and at most num_experts="
                    f"{self.num_experts} (a slot for every token in each expert), e.g. {name}=1.0"
                )
        if self.balance_scope not in get_args(BalanceScope):
            raise unknown(
                "balance_scope", self.balance_scope, get_args(BalanceScope), "balance_scope=global"
            )


class Gate(nn.Linear):
    """Router logits x W_g, [..., D] -> [..., E], always in float32; only a trained gate has a bias.

    Weights are initialised normal with standard deviation 0.02 (Komatsuzaki et al., "Sparse
    Upcycling", 2022, https://arxiv.org/abs/2212.05055, appendix A).
    """

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__(dim, num_experts, bias=False)

    def reset_parameters(self) -> None:
        """Initialise the weight."""
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        """Return logits."""
        bias: Tensor | None = self.bias
        return F.linear(x.float(), self.weight.float(), None if bias is None else bias.float())


class ExactStatistics(nn.Module):
    """A module whose floating-point buffers stay in float32 when it is cast to half precision."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        self.keep_exact(before)
        return self

    def keep_exact(self, before: Mapping[str, Tensor] | None = None) -> None:
        """Turn buffers in half precision into float32, with the values of those `before` a cast."""
        for name, buffer in self.named_buffers():
            if buffer.is_floating_point() and buffer.itemsize < FLOAT32:
                exact = (before or {}).get(name, buffer).to(buffer.device).float()
                host, _, last = name.rpartition(".")
                setattr(self.get_submodule(host), last, exact)


def with_dimension(value: Tensor, target: Tensor) -> Tensor:
    """Return a value without dimensions in the shape of a target of one number, else as it is."""
    is_scalar = value.ndim == 0 and tuple(target.shape) == (1,)
    return value.reshape(1) if is_scalar else value
