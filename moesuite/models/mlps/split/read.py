"""Read MLPs by what forward does with its parts: whole modules, and those spread over a layer.

`read_splits` finds the MLPs whose linear layers stand in a layer itself (BART, OPT, Whisper,
ALBERT), or in two of its parts (BERT, ESM); `read_chain` reads a module that is an MLP and nothing
else, whatever its parts are called (DistilBERT, wav2vec 2.0, SAM).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

from torch import nn

from moesuite.models.forward import CHUNKS
from moesuite.models.mlps.linear import is_linear
from moesuite.models.mlps.split.chain import Chain, chain_at, mlp_of, returns_to_width
from moesuite.models.mlps.split.follow import follow
from moesuite.models.mlps.split.source import method, uses
from moesuite.models.mlps.split.values import Step, Trace
from moesuite.nn.experts import DenseMLP

EXPECTED = "expected an activation, then dropout and LayerNorm if any"
# layers of these see tokens [tokens, groups, D]
TIME_FIRST = tuple(f"transformers.models.{name}.modeling_{name}" for name in ("xlnet", "fsmt"))


@dataclass(frozen=True)
class SplitMLP:
    """An MLP that is spread over a layer, and what becomes of its parts there.

    All names are within the layer.

    Attributes:
        mlp: its parts.
        first: name of the module that the MoE layer replaces.
        last: name of the module that returns the output of the MLP.
        also: other modules to replace, by name: those whose work the experts do.
        settings: plain attributes to set, by name, e.g. {"activation_dropout": 0.0}.

    Example:
        >>> up, down, no = nn.Linear(4, 8), nn.Linear(8, 4), nn.Identity()
        >>> mlp = DenseMLP(up, None, down, nn.ReLU(), drop1=no, norm=None, drop2=no)
        >>> split = SplitMLP(mlp, "fc1", "fc2", also={"act": no, "fc2": no})
    """

    mlp: DenseMLP
    first: str
    last: str
    also: Mapping[str, nn.Module] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_chain(module: nn.Module) -> DenseMLP | None:
    """Return the parts of a module that is an MLP of linear layers; None for any other."""
    linears = islice(filter(is_linear, module.modules()), 3)
    if len(list(linears)) != 2:
        return None
    trace = follow(module)
    steps = _passed(module, trace)
    chain = chain_at(steps, 0) if steps else None
    if chain is None or chain.up.path in trace.forks or len(chain.steps) < _working(steps):
        return None
    return mlp_of(chain) if returns_to_width(chain.up.part, chain.down.part) else None


def read_splits(layer: nn.Module) -> list[SplitMLP]:
    """Return the MLPs that are spread over `layer`, in the order of its source."""
    return [split for split in _spread(layer).values() if isinstance(split, SplitMLP)]


def refused_splits(layer: nn.Module) -> dict[str, str]:
    """Return why MLPs that are spread over `layer` cannot be replaced, by their first part."""
    return {path: reason for path, reason in _spread(layer).items() if isinstance(reason, str)}


def _spread(layer: nn.Module) -> dict[str, SplitMLP | str]:
    """Return the MLPs that are spread over a layer, or why they cannot be replaced."""
    parts = [layer, *layer.children()]
    bearing = sum(is_linear(child) for part in parts for child in part.children())
    if bearing < 2 or isinstance(layer, nn.Sequential | nn.ModuleList):
        return {}
    trace = follow(layer)
    read: dict[str, SplitMLP | str] = {}  # a way is noted at each of its steps: the last is longest
    for steps in trace.ways:
        linears = [place for place, step in enumerate(steps) if is_linear(step.part)]
        for start, end in pairwise(linears):
            up, down = steps[start], steps[end]
            if not returns_to_width(up.part, down.part) or _in_one_part(up, down):
                continue
            chain = chain_at(steps, start)
            if chain is None:
                between = ", ".join(_name(step) for step in steps[start + 1 : end]) or "nothing"
                read[up.path] = f"{between} between its linear layers; {EXPECTED}"
            elif up.path in trace.forks:
                read[up.path] = f"the output of {up.path} has several uses"
            else:
                read[up.path] = _split(layer, chain)
    return read


def _working(steps: Sequence[Step]) -> int:
    return sum(not isinstance(step.part, nn.Identity) for step in steps)


def _in_one_part(up: Step, down: Step) -> bool:
    """Return whether an MLP lies within one part of the layer: it is that part's own."""
    first, last = up.path.split("."), down.path.split(".")
    return len(first) > 1 and first[0] == last[0]


def _passed(module: nn.Module, trace: Trace) -> tuple[Step, ...]:
    """Return the steps from the one argument of a module to its output; empty for others."""
    forward = method(module, "forward")
    single = isinstance(module, nn.Sequential) or (forward is not None and forward.takes_one)
    return trace.output.steps if single and trace.output.source else ()


def _split(layer: nn.Module, chain: Chain) -> SplitMLP | str:
    """Return what becomes of the parts of a layer's MLP, or why it cannot be replaced."""
    if type(layer).__module__ in TIME_FIRST:
        return "its tokens are [tokens, groups, D]; expected [groups, tokens, D]"
    first, inside = _replaced(layer, chain)
    if chain.drop2 is not None and not _alone(layer, chain, chain.drop2):
        chain = chain._replace(drop2=None)  # it stays where it is
    outside = [step for step in chain.steps if step not in inside]
    if not all(step.path for step in outside):
        return f"its layer calls {_name(chain.act)} by name; expected an attribute of the layer"
    if busy := [step.path for step in outside if not _alone(layer, chain, step)]:
        return f"its layer uses {', '.join(busy)} elsewhere, too"
    mlp = mlp_of(chain)
    if mlp is None:
        return f"{_name(chain.act)} mixes tokens"
    if _uses(layer, first) != 1:
        return f"its layer uses {first} elsewhere, too"
    also: dict[str, nn.Module] = {}
    settings: dict[str, Any] = {}
    for step in outside:
        owner, _, name = step.path.rpartition(".")
        present = getattr(layer.get_submodule(owner), name)
        if isinstance(present, nn.Module):
            also[step.path] = nn.Identity()
        else:
            settings[step.path] = nn.Identity() if callable(present) else 0.0
    if getattr(layer, CHUNKS, 0):
        settings[CHUNKS] = 0
    return SplitMLP(mlp, first, chain.down.path, also, settings)


def _replaced(layer: nn.Module, chain: Chain) -> tuple[str, list[Step]]:
    """Return the name of the module that an MoE layer replaces, and the steps that it does.

    It is the part of the layer that does the first of the steps and nothing else (BERT's
    `intermediate`), or the first linear layer.
    """
    owner = chain.up.path.rpartition(".")[0]
    if owner:
        part = layer.get_submodule(owner)
        steps = _passed(part, follow(part))
        paths = [f"{owner}.{step.path}" if step.path else "" for step in steps]
        if steps and paths == [step.path for step in chain.steps[: len(steps)]]:
            return owner, chain.steps[: len(steps)]
    return chain.up.path, [chain.up]


def _alone(layer: nn.Module, chain: Chain, step: Step) -> bool:
    """Return whether the source of a layer uses a part for this MLP only."""
    return _uses(layer, step.path) == sum(other.path == step.path for other in chain.steps)


def _name(step: Step) -> str:
    return step.path or getattr(step.part, "__name__", "a function")


def _uses(layer: nn.Module, path: str) -> int:
    """Return how often the source of a layer names a part; 0 for a plain function."""
    count, module = 1, layer
    for name in path.split("."):
        if not isinstance(module, nn.Sequential):
            count *= uses(module)[name]
        module = getattr(module, name, nn.Identity())
    return count
