"""The model's own routing rule and gate, and its shared expert."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from moesuite.models.moe_blocks.gates import TrainedGate, decision
from moesuite.routing.assignment import dropless
from moesuite.routing.router import Gate, LayerSpec, RaggedRouting, Router

OWN = "own"  # name of the model's own routing rule


class Shared(nn.Module):
    """The shared expert, [..., D] -> [..., D].

    Args:
        mlp: the expert.
        gate: its sigmoid weighs the output; or None.
        scale: factor of the output.
    """

    def __init__(self, mlp: nn.Module, gate: nn.Module | None, scale: float = 1.0) -> None:
        super().__init__()
        self.mlp = mlp
        self.gate = gate
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Return its weighted output."""
        y: Tensor = self.mlp(x) if self.gate is None else self.gate(x).sigmoid() * self.mlp(x)
        return y if self.scale == 1 else y * self.scale


class OriginalRouter(Router):
    """The model's own rule: its gate module decides, without a capacity but its own."""

    causal = True

    def __init__(self, spec: LayerSpec, gate: TrainedGate) -> None:
        super().__init__(spec)
        self.gate = gate.module
        self.flat = gate.flat
        self.further = tuple(gate.further)
        self.name = OWN
        for name, value in gate.further.items():
            if isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value)

    def forward(
        self, x: Float[Tensor, "G T D"], mask: Bool[Tensor, "G T"] | None = None
    ) -> RaggedRouting:
        """Call the gate, in the precision of its weights."""
        tokens = x.to(next(self.gate.parameters()).dtype)
        if self.training and tokens is x:
            tokens = tokens.clone()  # some gates multiply jitter in place
        further = {name: getattr(self, name) for name in self.further}
        output = decision(self.gate(tokens.flatten(0, 1) if self.flat else tokens, **further))
        assert output is not None, "the gate was read before"
        weights, experts = (value.reshape(*x.shape[:2], -1) for value in output[1:])
        if mask is not None:
            experts = experts.masked_fill(~mask[..., None], self.spec.num_experts)
        return dropless(weights.float(), experts, self.spec.num_experts)


def share_gate(router: Router, gate: TrainedGate) -> None:
    """Give a router the weights of a trained gate."""
    linear = getattr(router, "gate", None)
    if isinstance(linear, Gate):
        linear.weight = gate.linear.weight
        linear.register_parameter("bias", gate.bias)
