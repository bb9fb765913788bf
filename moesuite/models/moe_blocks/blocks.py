"""MoE layers of Hugging Face models: a gate, experts and perhaps a shared expert; read, not copied.

A layer can be read if its gate is linear and returns (logits, combine weights, experts), its
experts are gated or plain MLPs, and nothing follows them but a constant factor and the shared
expert. What cannot be read is refused with what is missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.models.moe_blocks.frame import read_frame
from moesuite.models.moe_blocks.gates import TrainedGate, read_gate
from moesuite.models.moe_blocks.original import Shared
from moesuite.nn.moe import MoE, moe_layers
from moesuite.nn.trained_experts import UP, FusedExperts, SeparateExperts

GATES = ("gate", "router")  # names of modules
SHARED = ("shared_expert", "shared_experts", "shared_mlp")
SHARED_GATE = "shared_expert_gate"
# of the classes of MoE layers
MOE = re.compile(r"(MoE|Moe|MoEBlock|MoeBlock|SparseMLP)$")
SHOWN = 3  # reasons, or names, in a message


@dataclass(frozen=True)
class Block:
    """One MoE layer of a Hugging Face model.

    Attributes:
        name: of the module.
        gate: chooses experts.
        experts: the model's module of them.
        shared: the shared expert, or None.
        scale: factor of the experts' outputs besides the combine weights.
        paired: whether it returns the scores of its gate as a second output.
    """

    name: str
    gate: TrainedGate
    experts: Any
    shared: Shared | None
    scale: float
    paired: bool

    @property
    def k(self) -> int:
        """Experts per token."""
        return self.gate.k

    @property
    def rule(self) -> dict[str, Any]:
        """The rule of the gate, as options of routers that have them."""
        gate = self.gate
        options: dict[str, Any] = {"k": gate.k, "normalise": gate.normalises}
        options |= dict(zip(("groups", "limit", "best_of"), gate.groups, strict=True))
        return options | ({"scores": gate.score} if gate.score else {})

    def trained_experts(self, scale: float = 1.0) -> FusedExperts | SeparateExperts:
        """Return the experts on the model's weights, their outputs multiplied by `scale`."""
        kind = SeparateExperts if isinstance(self.experts, nn.ModuleDict) else FusedExperts
        return kind(self.experts, scale * self.scale)


def moe_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return what looks like an MoE layer of another library, by name; nothing within another."""
    modules: dict[str, nn.Module] = {}
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if name.startswith(inside) and inside:
            continue
        is_ours = isinstance(module, MoE)
        if is_ours or "experts" in dict(module.named_children()) or MOE.search(_kind(module)):
            inside = (*inside, f"{name}." if name else "")
            if not is_ours:
                modules[name] = module
    return modules


def read_block(name: str, module: nn.Module) -> Block | str:
    """Return an MoE layer of a Hugging Face model, or what is missing to read it."""
    parts = dict(module.named_children())
    experts: Any = parts.pop("experts", None)
    gate = next((parts.pop(key) for key in GATES if key in parts), None)
    if gate is None or experts is None:
        return "it has no modules `gate` or `router`, and `experts`"
    shared = next((key for key in SHARED if key in parts), None)
    shared_gate = SHARED_GATE if SHARED_GATE in parts else None
    rest = [
        key
        for key, part in parts.items()
        if key not in (shared, shared_gate) and not isinstance(part, nn.Identity)
    ]
    if rest:
        more = ", ..." if len(rest) > SHOWN else ""
        return f"its gate and experts stand among other parts: {', '.join(rest[:SHOWN])}{more}"
    if (reason := _unreadable(experts)) is not None:
        return reason
    read = read_gate(gate, module, _number_of_experts(experts))
    if isinstance(read, str):
        return read
    further = {id(value) for value in read.further.values()}
    weights = [
        key for key, value in module.named_parameters(recurse=False) if id(value) not in further
    ]
    if weights:
        return f"it has weights of its own: {', '.join(weights)}"
    frame = read_frame(module, read.linear.weight.shape[1], shared, shared_gate)
    if isinstance(frame, str):
        return frame
    always = None
    if shared is not None:
        always = Shared(parts[shared], parts.get(SHARED_GATE), frame.shared)
    return Block(name, read, experts, always, frame.scale, frame.paired)


def _number_of_experts(experts: Any) -> int:
    return len(experts) if isinstance(experts, nn.ModuleDict) else len(experts.down_proj)


def _unreadable(experts: Any) -> str | None:
    """Return why experts cannot be read, or None."""
    if isinstance(experts, nn.ModuleDict):
        kinds = {_kind(expert) for expert in experts.values()}
        return None if len(kinds) == 1 else f"its experts are of several kinds: {', '.join(kinds)}"
    shapes = {name: value.shape for name, value in experts.named_parameters()}
    up = next((name for name in UP if name in shapes), None)
    known = {up, f"{up}_bias", "down_proj", "down_proj_bias"}
    if (
        up is None
        or "down_proj" not in shapes
        or any(len(shapes[n]) != 3 for n in (up, "down_proj"))
    ):
        return "its experts are no stacked weights up_proj or gate_up_proj, and down_proj"
    if more := shapes.keys() - known:
        return f"its experts have more weights: {', '.join(sorted(more))}"
    if shapes[up][0] != shapes["down_proj"][0]:
        return f"{shapes[up][0] - shapes['down_proj'][0]} of its experts have no weights"
    return None


def _kind(module: nn.Module) -> str:
    return type(module).__name__


def read_blocks(model: nn.Module) -> dict[str, Block | str]:
    """Return the MoE layers of a Hugging Face model by name, or what is missing to read them."""
    return {name: read_block(name, module) for name, module in moe_modules(model).items()}


def moe_reason(model: nn.Module) -> str | None:
    """Return what to do with a model that is a mixture of experts already; None for a dense one.

    It is told to `moesuite.reroute`, or what that lacks for it.
    """
    read = read_blocks(model)
    if not read:
        return None
    first = next(iter(read))
    says = f"it is a mixture of experts already ({_kind(model.get_submodule(first))} at {first})"
    if any(isinstance(block, Block) for block in read.values()):
        return f"{says}; type moesuite.reroute(model) to give it another router"
    return f"{says}, which moesuite.reroute cannot read: {missing(model, read)}"


def missing(model: nn.Module, read: dict[str, Block | str]) -> str:
    """Return what is missing to read layers, by their class."""
    reasons = {
        _kind(model.get_submodule(name)): block
        for name, block in read.items()
        if isinstance(block, str)
    }
    return "; ".join(f"{kind}: {reason}" for kind, reason in list(reasons.items())[:SHOWN])


def no_blocks(model: nn.Module, read: dict[str, Block | str]) -> UserError:
    """Return the error for a model without MoE layers that can be read."""
    hint = "it is dense; type moesuite.upcycle(model) to make a mixture of experts of it"
    if any(moe_layers(model)):
        hint = "those that it has are of moesuite already; reroute the model as it was loaded"
    return UserError(
        f"{_kind(model)} has no MoE layers that can be rerouted: {missing(model, read) or hint}"
    )
