"""Read MLPs by what forward does with its parts: whole modules, and those spread over a layer.

`read_splits` finds the MLPs whose linear layers stand in a layer itself (BART, OPT, Whisper,
ALBERT), or in two of its parts (BERT, ESM); `read_chain` reads a module that is an MLP and nothing
else, whatever its parts are called (DistilBERT, wav2vec 2.0, SAM).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from torch import nn

from moesuite.models.forward import CHUNKS
from moesuite.models.mlps.linear import is_linear
from moesuite.models.mlps.split.chain import Chain, chain_at, mlp_of
from moesuite.models.mlps.split.follow import follow
from moesuite.models.mlps.split.source import method, uses
from moesuite.models.mlps.split.values import Step, Trace
from moesuite.nn.experts import DenseMLP


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
    return mlp_of(chain)


def read_splits(layer: nn.Module) -> list[SplitMLP]:
    """Return the MLPs that are spread over `layer`, in the order of its source."""
    parts = [layer, *layer.children()]
    bearing = sum(is_linear(child) for part in parts for child in part.children())
    if bearing < 2 or isinstance(layer, nn.Sequential | nn.ModuleList):
        return []
    trace = follow(layer)
    longest: dict[str, Chain] = {}  # by the first linear layer: a way is noted at each of its steps
    for steps in trace.ways:
        for start, step in enumerate(steps):
            chain = chain_at(steps, start) if is_linear(step.part) else None
            if chain is not None and step.path not in trace.forks:
                longest[step.path] = chain
    splits = [_split(layer, chain) for chain in longest.values() if not _in_one_part(chain)]
    return [split for split in splits if split is not None]


def _working(steps: Sequence[Step]) -> int:
    return sum(not isinstance(step.part, nn.Identity) for step in steps)


def _in_one_part(chain: Chain) -> bool:
    """Return whether an MLP lies within one part of the layer: it is that part's own."""
    first, last = (step.path.split(".") for step in (chain.up, chain.down))
    return len(first) > 1 and first[0] == last[0]


def _passed(module: nn.Module, trace: Trace) -> tuple[Step, ...]:
    """Return the steps from the one argument of a module to its output; empty for others."""
    forward = method(module, "forward")
    single = isinstance(module, nn.Sequential) or (forward is not None and forward.takes_one)
    return trace.output.steps if single and trace.output.source else ()


def _split(layer: nn.Module, chain: Chain) -> SplitMLP | None:
    """Return what becomes of the parts of a layer's MLP; None if one of them has other work."""
    first, inside = _replaced(layer, chain)
    times = Counter(step.path for step in chain.steps)
    if chain.drop2 is not None and _uses(layer, chain.drop2.path) != times[chain.drop2.path]:
        chain = chain._replace(drop2=None)  # it stays where it is
        times = Counter(step.path for step in chain.steps)
    outside = [step for step in chain.steps if step not in inside]
    alone = all(_uses(layer, step.path) == times[step.path] for step in outside)
    mlp = mlp_of(chain)
    if mlp is None or not alone or _uses(layer, first) != 1:
        return None
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


def _uses(layer: nn.Module, path: str) -> int:
    """Return how often the source of a layer names a part; 0 for a plain function."""
    count, module = 1, layer
    for name in path.split("."):
        if not isinstance(module, nn.Sequential):
            count *= uses(module)[name]
        module = getattr(module, name, nn.Identity())
    return count
