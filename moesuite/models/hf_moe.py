"""Parts of Hugging Face's own MoE layers; weights are used in place, not copied.

Supported are blocks of a `gate` and `experts` with the fused weights `gate_up_proj` [E, 2H, D] and
`down_proj` [E, D, H], with or without a shared expert: those of OLMoE, Mixtral, Qwen2-MoE,
Qwen3-MoE, DeepSeek V2 and V3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from moesuite.errors import UserError, unknown
from moesuite.models.candidates import looks_like_mlp
from moesuite.routing.assignment import dropless
from moesuite.routing.router import LayerSpec, RaggedRouting, Router

WEIGHTS = {"gate_up_proj", "down_proj"}
# names of modules besides gate and experts
SHARED: tuple[set[str], ...] = (set(), {"shared_expert", "shared_expert_gate"}, {"shared_experts"})
OWN = "own"  # name of the model's own routing rule


class Shared(nn.Module):
    """The shared expert, [..., D] -> [..., D], weighted by a sigmoid gate if there is one."""

    def __init__(self, mlp: nn.Module, gate: nn.Module | None) -> None:
        super().__init__()
        self.mlp = mlp
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """Return its weighted output."""
        return self.mlp(x) if self.gate is None else self.gate(x).sigmoid() * self.mlp(x)


class OriginalRouter(Router):
    """The model's own rule: its gate module decides, without a capacity."""

    causal = True

    def __init__(self, spec: LayerSpec, gate: nn.Module) -> None:
        super().__init__(spec)
        self.gate = gate
        self.name = OWN

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> RaggedRouting:
        """Call the gate, in the precision of its weights."""
        tokens = x.flatten(0, 1).to(next(self.gate.parameters()).dtype)
        _, weights, experts = self.gate(tokens)
        weights, experts = (value.unflatten(0, x.shape[:2]) for value in (weights.float(), experts))
        if mask is not None:
            experts = experts.masked_fill(~mask[..., None], self.spec.num_experts)
        return dropless(weights, experts, self.spec.num_experts)


@dataclass(frozen=True)
class Block:
    """One MoE layer of a Hugging Face model.

    Attributes:
        name: of the module.
        gate: maps tokens [N, D] to (logits, combine weights, experts), each [N, ...].
        experts: with the fused weights.
        shared: the shared expert, or None.
        k: experts per token.
        scale: factor of the combine weights.
    """

    name: str
    gate: Any
    experts: Any
    shared: Shared | None
    k: int
    scale: float


def blocks(model: nn.Module) -> Iterator[Block]:
    """Yield the supported MoE layers of a Hugging Face model, in its order."""
    for name, module in model.named_modules():
        parts = dict(module.named_children())
        experts, rest = parts.get("experts"), parts.keys() - {"experts", "gate"}
        gate: Any = parts.get("gate")
        fused = experts is not None and {name for name, _ in experts.named_parameters()} == WEIGHTS
        if (
            not fused
            or not hasattr(gate, "top_k")
            or rest not in SHARED
            or not hasattr(experts, "act_fn")
        ):
            continue
        mlp = parts.get("shared_expert", parts.get("shared_experts"))
        shared = None if mlp is None else Shared(mlp, parts.get("shared_expert_gate"))
        scale = float(getattr(gate, "routed_scaling_factor", 1.0))
        yield Block(name, gate, experts, shared, gate.top_k, scale)


@torch.no_grad()
def normalises(block: Block) -> bool:
    """Return whether a block divides each token's weights by their sum.

    Measured on a zero token, for which all experts are equal.
    """
    weight = block.gate.weight
    _, weights, _ = block.gate(weight.new_zeros(1, weight.shape[1]))
    return block.k < len(weight) and abs(weights.float().sum().item() / block.scale - 1) < 0.01


def chosen_blocks(model: nn.Module, layers: list[str] | None = None) -> list[Block]:
    """Return the MoE layers to reroute.

    Raises:
        UserError: if there is none, or none of a given name.
    """
    by_name = {block.name: block for block in blocks(model)}
    if not by_name:
        raise _no_blocks(model)
    for name in layers or ():
        if name not in by_name:
            raise unknown("MoE layer", name, by_name, f"layers=[{next(iter(by_name))!r}]")
    return [block for name, block in by_name.items() if layers is None or name in layers]


def _no_blocks(model: nn.Module) -> UserError:
    kinds = {type(module).__name__ for module in model.modules()}
    unreadable = sorted(kind for kind in kinds if "moe" in kind.lower())
    hint = ""
    if unreadable:
        hint = f"; modules that have no adapter: {', '.join(unreadable)}"
    elif any(looks_like_mlp(module) for module in model.modules()):
        hint = ": it is dense; type moesuite.upcycle(model) to make a mixture of experts of it"
    return UserError(
        f"{type(model).__name__} has no MoE layers that can be rerouted{hint}; expected OLMoE, "
        "Mixtral, Qwen2-MoE, Qwen3-MoE, DeepSeek V2 and V3 of transformers"
    )
