"""`for_export`: evaluation in shapes that do not depend on token values, for exporters."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from moesuite.errors import UserError
from moesuite.nn.moe import moe_layers
from moesuite.routing.validation import name_of

Model = TypeVar("Model", bound=nn.Module)


def for_export(model: Model, slots_per_token: float | None = None) -> Model:
    """Put the evaluation of MoE layers into a static form, in place, and return the model.

    Shapes then follow from the shape of the input alone, as `torch.export`, ONNX and
    `torch.compile(fullgraph=True)` need. Training, weights and `save_moe` are as before. A router
    with a capacity in evaluation keeps it. One without computes every token in every expert, for
    the same outputs at E times the MLP's work, unless `slots_per_token` limits it.

    Args:
        model: with MoE layers; set to evaluation mode.
        slots_per_token: limit of routers without one, E·C/T in (0, E]: an expert refuses tokens
            beyond C, and outputs differ by that. None: no limit.

    Raises:
        UserError: for a limit out of range, or a router without a static form; the model is then
            as it was.

    Example:
        >>> import timm, torch
        >>> from moesuite import for_export, moefy
        >>> model = moefy(timm.create_model("vit_tiny_patch16_224"), num_experts=4)
        >>> image = torch.zeros(2, 3, 224, 224)
        >>> program = torch.export.export(for_export(model), (image,))
    """
    layers = list(moe_layers(model))
    for name, layer in layers:
        if problem := layer.router.static_problem():
            raise UserError(
                f"router={name_of(layer.router)} at {name} has no static form: {problem}"
            )
        num_experts = layer.experts.num_experts
        if slots_per_token is not None and not 0 < slots_per_token <= num_experts:
            raise UserError(
                f"slots_per_token={slots_per_token}: expected more than 0 and at most num_experts="
                f"{num_experts}, e.g. for_export(model, slots_per_token=1.25)"
            )
    for _, layer in layers:
        slots = slots_per_token
        if slots is not None:  # of real experts; the router knows of null experts, too
            slots *= layer.pool / layer.experts.num_experts
        layer.router.make_static(slots)
    return model.eval()
