"""What is needed beside its weights to build a model's MoE layers anew: a small JSON, of a versioned form.

Names of weights are part of the form, and stay: of a layer at `<layer>`, in the place of an MLP,
    <layer>.experts.up.weight [E, D, H], <layer>.experts.up.bias [E, H]; the same of `gate` in gated
    MLPs and `down`; <layer>.experts.norm.weight, .bias [E, H] where the MLP has a norm;
    <layer>.router.<name of the router's own>, for most of them <layer>.router.gate.weight [E, D];
of a rerouted layer of a Hugging Face model
    <layer>.experts.gate_up_proj [E, 2H, D], <layer>.experts.down_proj [E, D, H], as there;
    <layer>.router.gate.weight [E, D]; <layer>.shared.mlp.<...> and <layer>.shared.gate.weight [1,
    D].
All others keep the names that they have in the dense model.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from moesuite.config.options import Section
from moesuite.config.schema import BalanceScope
from moesuite.nn.experts import FusedExperts
from moesuite.nn.moe import moe_layers
from moesuite.routing.router import LayerSpec

FORMAT = 1


class LayerDescription(Section):
    """One MoE layer: its router by name and options, what the router knows of the layer, and how answers are combined.

    `rerouted` is true of layers that the model had before, whose experts are read in place.
    """

    router: str
    options: dict[str, Any] = {}
    dim: int
    num_experts: int
    slots_per_token: float = 1.0
    eval_slots_per_token: float | None = None
    tokens: int | None = None
    balance_scope: BalanceScope = "global"
    renormalise: bool = False
    rerouted: bool = False

    @property
    def spec(self) -> LayerSpec:
        """What the router knows of the layer."""
        budget = self.slots_per_token, self.eval_slots_per_token
        return LayerSpec(self.dim, self.num_experts, *budget, self.tokens, self.balance_scope)


class Description(Section):
    """The MoE layers of a model by name, in its order."""

    format: int = FORMAT
    layers: dict[str, LayerDescription]


def describe(model: nn.Module) -> Description:
    """Return what builds the MoE layers of `model` anew."""
    layers = {
        name: LayerDescription(
            router=layer.router.name,
            options=layer.router.options,
            **vars(layer.router.spec),
            renormalise=layer.renormalise,
            rerouted=isinstance(layer.experts, FusedExperts),
        )
        for name, layer in moe_layers(model)
    }
    return Description(layers=layers)
