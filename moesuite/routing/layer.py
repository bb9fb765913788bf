"""What a router is told of its layer, and the gates that routers share.

A gate computes the logits of each token by itself, so that a router is as causal with any of them.

linear: x W_g.
mlp: W_2 GELU(x W_1 + b_1), the MLP router of Harvey, Weale and Yilmaz, "Optimizing MoE Routers:
    Design, Implementation, and Evaluation in Transformer Models" (2025),
    https://arxiv.org/abs/2506.16419. Not in the paper: D/4 hidden units, at least E.
cosine: cosine similarity on a sphere of E/2 dimensions, over a trained temperature τ (Chi et al.,
    "On the Representation Collapse of Sparse Mixture of Experts", X-MoE, 2022,
    https://arxiv.org/abs/2204.09179). Not in the paper: at least 2 dimensions; τ
    is clamped to >= 0.01.
attention: softmax(q kᵀ) v over experts, with q, k, v = x W_q, x W_k, x W_v of E numbers each, so
    that an expert's logit takes account of all others' (Wu et al., "Yuan 2.0-M32: Mixture of
    Experts with Attention Router", 2024, https://arxiv.org/abs/2405.17976). Not in the paper:
    LeCun normal weights, as its logits are almost equal with smaller ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.config.schema import BalanceScope, GateKind
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
        gate: kind of gate that `build_gate` builds; None: linear.

    Raises:
        UserError: for a value outside its range.
    """

    dim: int
    num_experts: int
    slots_per_token: float = 1.0
    eval_slots_per_token: float | None = None
    tokens: int | None = None
    balance_scope: BalanceScope = "global"
    gate: GateKind | None = None

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
            scope = str(self.balance_scope)
            raise unknown("balance_scope", scope, get_args(BalanceScope), "balance_scope=global")
        if self.gate is not None and self.gate not in get_args(GateKind):
            raise unknown("gate", str(self.gate), get_args(GateKind), "gate=linear")

    def with_null_experts(self, count: int) -> LayerSpec:
        """Return the spec of a pool with further experts that do no work.

        Slots per token grow with the pool, so that the real experts' part of them stays as it is.
        """
        if count == 0:
            return self
        grown = (self.num_experts + count) / self.num_experts
        in_evaluation = self.eval_slots_per_token
        return replace(
            self,
            num_experts=self.num_experts + count,
            slots_per_token=self.slots_per_token * grown,
            eval_slots_per_token=None if in_evaluation is None else in_evaluation * grown,
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


class MLPGate(nn.Module):
    """Router logits by an MLP with one hidden layer, [..., D] -> [..., E], always in float32."""

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, max(num_experts, dim // 4))
        self.out = Gate(self.hidden.out_features, num_experts)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        """Return logits."""
        hidden = F.linear(x.float(), self.hidden.weight.float(), self.hidden.bias.float())
        return self.out(F.gelu(hidden))


def cosine_weights(
    dim: int, num_experts: int, temperature: float
) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    """Return projection [d, D], embeddings [E, d] and temperature [1] of a cosine gate."""
    width = max(2, num_experts // 2)
    projection = torch.randn(width, dim) * dim**-0.5
    embeddings = torch.randn(num_experts, width)
    # of one dimension: FSDP shards no scalars
    temperatures = torch.tensor([temperature])
    return nn.Parameter(projection), nn.Parameter(embeddings), nn.Parameter(temperatures)


def cosine_logits(
    x: Float[Tensor, "*batch D"],
    projection: Float[Tensor, "d D"],
    embeddings: Float[Tensor, "E d"],
    temperature: Float[Tensor, 1],
) -> Float[Tensor, "*batch E"]:
    """Return the cosine similarity of projected tokens and experts over the temperature."""
    tokens = F.normalize(F.linear(x.float(), projection.float()), dim=-1)
    cosines = F.linear(tokens, F.normalize(embeddings.float(), dim=-1))
    return cosines / temperature.float().squeeze().clamp(min=0.01)


class CosineGate(nn.Module):
    """Router logits by scaled cosine similarity, [..., D] -> [..., E], always in float32.

    Args:
        dim: width D of a token.
        num_experts: E.
        temperature: initial τ, > 0.
    """

    def __init__(self, dim: int, num_experts: int, temperature: float = 0.3) -> None:
        super().__init__()
        weights = cosine_weights(dim, num_experts, temperature)
        self.projection, self.embeddings, self.temperature = weights

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        """Return logits."""
        return cosine_logits(x, self.projection, self.embeddings, self.temperature)


class AttentionGate(nn.Module):
    """Router logits by attention between experts, [..., D] -> [..., E], always in float32."""

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * num_experts, dim) * dim**-0.5)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        """Return logits."""
        query, key, value = F.linear(x.float(), self.weight.float()).chunk(3, dim=-1)
        attention = (query[..., :, None] @ key[..., None, :]).softmax(dim=-1)  # [..., E, E]
        return (attention @ value[..., None])[..., 0]


GATES: Mapping[GateKind, type[nn.Module]] = {
    "linear": Gate,
    "mlp": MLPGate,
    "cosine": CosineGate,
    "attention": AttentionGate,
}


def build_gate(spec: LayerSpec) -> nn.Module:
    """Return a gate of the kind that a layer asks for, [..., D] -> [..., E]."""
    return GATES[spec.gate or "linear"](spec.dim, spec.num_experts)


class OfThread(threading.local):
    """What a thread knows of its forward; copies and pickles know nothing."""

    def __init__(self) -> None:
        self.ids: Tensor | None = None

    def __reduce__(self) -> tuple[type[OfThread], tuple[()]]:
        return OfThread, ()


class ExactStatistics(nn.Module):
    """A module whose floating-point buffers stay in float32 when it is cast to half precision.

    It loads numbers that a version saved without a dimension.
    """

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

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, parameter in self.named_parameters(prefix.removesuffix("."), recurse=False):
            if name in state:
                state[name] = with_dimension(state[name], parameter)
        super()._load_from_state_dict(state, prefix, *rest)


def with_dimension(value: Tensor, target: Tensor) -> Tensor:
    """Return a value without dimensions in the shape of a target of one number, else as it is."""
    is_scalar = value.ndim == 0 and tuple(target.shape) == (1,)
    return value.reshape(1) if is_scalar else value
