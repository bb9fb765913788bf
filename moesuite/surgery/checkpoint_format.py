"""The description that a model's MoE layers are rebuilt from: a small JSON of a versioned format.

Names of weights are part of the format, and stable. Of a layer at `<layer>` in place of an MLP:
    <layer>.experts.up.weight [E, D, H], <layer>.experts.up.bias [E, H]; the same of `gate` in gated
    MLPs and of `down`; <layer>.experts.norm.weight, .bias [E, H] if the MLP has a norm;
    <layer>.router.<the router's own names>, usually <layer>.router.gate.weight [E, D].
An MLP that is spread over its layer is replaced at its first part; the others have no weights then:
    <layer>.intermediate (BERT, ESM, Swin v2), <layer>.fc1 (BART, OPT, Whisper), <layer>.ffn
    (ALBERT), <layer>.pwconv1 (ConvNeXt).
Of a rerouted layer of a Hugging Face model:
    <layer>.experts.gate_up_proj [E, 2H, D], <layer>.experts.down_proj [E, D, H], and their biases,
    as there; or <layer>.experts.<expert>.<...> if each expert is a module;
    <layer>.router.gate.weight [E, D], <layer>.router.gate.bias [E] if the model has it; with the
    model's own rule the names of its gate; <layer>.shared.mlp.<...> and
    <layer>.shared.gate.weight [1, D].
All others keep the names that they have in the dense model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from moesuite.config.options import Section
from moesuite.config.schema import BalanceScope, GateKind
from moesuite.config.sections import NullKind
from moesuite.models.moe_blocks.layer import ReroutedMoE
from moesuite.nn.beside.parts import Parts, parts_of
from moesuite.nn.moe import moe_layers
from moesuite.routing.router import LayerSpec
from moesuite.surgery.saving.ties import ties_of

FORMAT = 1
# options of a layer that the first files of this format lack
LATER = ("gate", "shared_experts", "null_experts", "dense_gradient")


class LayerDescription(Section):
    """One MoE layer: its router by name and options, its `LayerSpec`, and how outputs are combined.

    `num_experts` counts null experts, and slots per token grow with them, as the router knows them.
    `rerouted` is true for layers that the model had before, whose experts are used in place.
    """

    router: str
    options: dict[str, Any] = {}
    dim: Annotated[int, Field(ge=1)]
    num_experts: Annotated[int, Field(ge=1)]
    slots_per_token: float = LayerSpec.slots_per_token
    eval_slots_per_token: float | None = LayerSpec.eval_slots_per_token
    tokens: int | None = LayerSpec.tokens
    balance_scope: BalanceScope = LayerSpec.balance_scope
    gate: GateKind | None = LayerSpec.gate
    renormalise: bool = False
    shared_experts: Annotated[int, Field(ge=0)] = 0
    null_experts: dict[NullKind, Annotated[int, Field(ge=1)]] = {}
    dense_gradient: bool = False
    rerouted: bool = False

    @property
    def parts(self) -> Parts:
        """What the layer has beside router and routed experts."""
        return Parts(self.renormalise, self.shared_experts, self.null_experts, self.dense_gradient)

    @property
    def spec(self) -> LayerSpec:
        """What the router knows about the layer."""
        return LayerSpec(
            dim=self.dim,
            num_experts=self.num_experts,
            slots_per_token=self.slots_per_token,
            eval_slots_per_token=self.eval_slots_per_token,
            tokens=self.tokens,
            balance_scope=self.balance_scope,
            gate=self.gate,
        )


class Description(Section):
    """The MoE layers of a model by name, in its order.

    `buffers` are those that are no weights and were cast to half precision with the model, by name;
    `tied` are the names of each weight that was tied by hand.
    """

    format: int = FORMAT
    layers: dict[str, LayerDescription]
    buffers: dict[str, Literal["bfloat16", "float16"]] = {}
    tied: list[Annotated[list[str], Field(min_length=2)]] = []

    def plain(self) -> dict[str, Any]:
        """Return it as JSON, without what is newer than the format where it is at its default."""
        dumped = self.model_dump(exclude={k for k in ("buffers", "tied") if not getattr(self, k)})
        for layer in dumped["layers"].values():
            for name in LATER:
                if layer[name] == LayerDescription.model_fields[name].default:
                    del layer[name]
        return dumped


def without_extras(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a file's description that is a `Description`.

    Beside it stand `dense`, the recipe of the dense model, and `attributes` of its modules.
    """
    return {key: value for key, value in about.items() if key not in ("dense", "attributes")}


def describe(model: nn.Module) -> Description:
    """Return the description of the MoE layers of `model`."""
    layers = {
        name: LayerDescription(
            router=layer.router.name,
            options=layer.router.options,
            **vars(layer.router.spec),
            **vars(parts_of(layer)),
            rerouted=isinstance(layer, ReroutedMoE),
        )
        for name, layer in moe_layers(model)
    }
    return Description(layers=layers, buffers=_half_buffers(model), tied=ties_of(model))


def _half_buffers(model: nn.Module) -> dict[str, Any]:
    """Return the types of buffers in half precision that `state_dict` leaves out."""
    halves = {
        name: str(buffer.dtype).removeprefix("torch.")
        for name, buffer in model.named_buffers()
        if buffer.dtype in (torch.bfloat16, torch.float16)
    }
    weights = model.state_dict().keys() if halves else ()
    return {name: dtype for name, dtype in halves.items() if name not in weights}
