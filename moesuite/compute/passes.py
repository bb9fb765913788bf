"""FLOPs and saved activations of one pass, by part and layer, without running the model.

FLOPs of experts and of moving tokens follow from routings in closed form; those of the backbone and
routers are counted (`moesuite.compute.flop_counter`) on a twin without memory
(`moesuite.compute.meta_twin`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moesuite.compute.flop_counter import Counted, SavedTensors, count_flops
from moesuite.compute.meta_twin import META, Probe, shadow
from moesuite.errors import UserError
from moesuite.models.forward import call, first_tensor
from moesuite.models.meta_device import KernelsOfRealDevices
from moesuite.nn.dispatcher import BACKWARD, Work
from moesuite.nn.moe import MoE, moe_layers
from moesuite.records.compute import Split
from moesuite.routing.forms import Routing
from moesuite.routing.scope import alone

REFUSALS = (RuntimeError, AssertionError, ValueError, TypeError)  # raised by models and torch
Inputs = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class LayerPass:
    """FLOPs of one MoE layer in one pass over a batch, and the rows that they follow from.

    `work` is that of routed experts; FLOPs of experts include those of shared experts and of
    constant null experts, as they are counted; those of combining include default outputs.
    """

    work: Work
    shared_experts: int
    activated: Split
    executed: Split
    counted: int  # the part of `executed` that a counter of matrix products sees

    @property
    def slots(self) -> int:
        """Slots of routed and of shared experts."""
        return self.work.slots + self.shared_experts * self.work.tokens


@dataclass(frozen=True)
class Pass:
    """Cost of one pass over a batch.

    Attributes:
        backbone: FLOPs outside of MoE layers.
        layers: each MoE layer by name.
        saved: bytes that autograd saves for the backward pass; 0 in evaluation.
        output: bytes of the model's output.
        uncounted: "module: operation" for every operation without a formula.
    """

    backbone: int
    layers: dict[str, LayerPass]
    saved: int
    output: int
    uncounted: set[str]


def account(
    model: nn.Module, inputs: Inputs, training: bool, routings: Mapping[str, Routing] | None = None
) -> Pass:
    """Account for a forward pass in evaluation, or forward and backward in training.

    Args:
        model: neither run nor changed; may be on the meta device.
        inputs: a batch, as a tensor or keyword arguments.
        training: whether to include the backward pass, with all parameters trained.
        routings: by layer name; None: those that are expected, see `moesuite.compute.cost.cost`.

    Raises:
        UserError: for inputs that the model refuses.
    """
    tensors = inputs if isinstance(inputs, dict) else {"": inputs}
    try:
        try:
            twin, counted, saved, output = _trace(model, tensors, training, routings, META)
        except UserError:
            raise
        except REFUSALS:
            # an operation may need values or lack a meta kernel: run the twin where the model is
            device = next(model.parameters()).device
            twin, counted, saved, output = _trace(model, tensors, training, routings, device)
    except UserError:
        raise
    except REFUSALS as error:
        shapes = [f"{key} {tuple(tensor.shape)}".strip() for key, tensor in tensors.items()]
        raise UserError(
            f"{type(model).__name__} refuses inputs of shape {', '.join(shapes)}: "
            f"{str(error).splitlines()[0]}; expected inputs that the model accepts, "
            "e.g. images of [batch, channels, height, width]"
        ) from error
    layers = {name: _layer(twin, name, layer, counted, saved) for name, layer in moe_layers(twin)}
    inside = sum(layer.counted for layer in layers.values())
    return Pass(counted.total - inside, layers, saved.bytes, output.nbytes, counted.uncounted)


def _trace(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    training: bool,
    routings: Mapping[str, Routing] | None,
    device: torch.device,
) -> tuple[nn.Module, Counted, SavedTensors, Tensor]:
    """Run the twin of `model` on `device`; return it, counts, saved tensors and the output."""
    twin = shadow(model, training, tensors, routings, device)
    # outside of routers, which get the masks, padding costs as much as tokens; some models branch
    # on values of their mask
    unmasked = {
        key: tensor.to(device)
        for key, tensor in tensors.items()
        if not key.endswith("attention_mask")
    }
    saved = SavedTensors([*twin.parameters(), *twin.buffers()])
    output = list[Tensor]()

    def run() -> None:
        with KernelsOfRealDevices(), torch.set_grad_enabled(training), alone():
            with saved:
                output.append(first_tensor(call(twin, unmasked.get("", unmasked))))
            if training:
                output[0].float().sum().backward()

    with torch.random.fork_rng(devices=[]):
        return twin, count_flops(run), saved, output[0]


def _layer(
    twin: nn.Module, name: str, layer: MoE, counted: Counted, saved: SavedTensors
) -> LayerPass:
    """Account for a layer of the twin after its pass."""
    probe = layer.router
    assert isinstance(probe, Probe) and probe.routing is not None
    for tensor, twin_tensor in probe.twins:
        saved.same(tensor, twin_tensor)
    path = ".".join(part for part in (type(twin).__name__, name) if part)
    routing, experts = layer.executed(probe.routing), layer.experts
    dispatcher = layer.dispatcher_for(routing, META)
    work, router = dispatcher.work(routing), counted.within(f"{path}.router")
    beside = counted.within(f"{path}.null")
    beside += counted.within(f"{path}.shared") if layer.shared_experts else 0
    row = (BACKWARD if twin.training else 1) * experts.flops_per_row
    moving = dispatcher.moving_flops(routing, experts.dim, twin.training)
    default = counted.within(f"{path}.default")
    products = moving if dispatcher.moves_by_matmul else 0
    parts = {"backbone": 0.0, "router": router, "experts": work.filled * row + beside}
    return LayerPass(
        work=work,
        shared_experts=layer.shared_experts,
        activated=Split(
            **parts,
            dispatch_combine=moving * work.filled / max(1, work.computed) + default,
            padding=0.0,
        ),
        executed=Split(
            **parts,
            dispatch_combine=moving + default,
            padding=(work.computed - work.filled) * row,
        ),
        counted=router + beside + default + work.computed * row + products,
    )
