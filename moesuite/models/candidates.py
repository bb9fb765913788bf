"""Find the MLPs of a model that can become MoE layers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from moesuite.models.mlps.defaults import in_mixtures, seeing_no_tokens
from moesuite.models.mlps.split.read import SplitMLP, read_chain, read_splits, refused_splits
from moesuite.models.mlps.trial import Trial, is_inside, may_be_mlp, obstacles
from moesuite.models.mlps.verify import Read, Reading, fault, kind
from moesuite.models.mlps.whole import read_mlp
from moesuite.models.mlps.wrapped import unwrapped
from moesuite.nn.experts import DenseMLP

# MLPs that mix tokens with each other: their last axis is not the width of a token, so that tokens
# cannot be routed
TOKEN_MIXERS = ("mlp_tokens",)
# None for modules that it does not know
Adapter = Callable[[nn.Module], DenseMLP | SplitMLP | None]
Verdict = tuple[Read | None, str]  # what reads a module, and how the module differs from that


@dataclass(frozen=True)
class Candidate:
    """An MLP that can become an MoE layer.

    Attributes:
        name: of the module that is replaced.
        mlp: its parts.
        last: name of the module that returns the output of the MLP.
        also: other modules to replace, by name.
        settings: plain attributes of modules to set, by name.
    """

    name: str
    mlp: DenseMLP
    last: str
    also: Mapping[str, nn.Module] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Survey:
    """The MLPs of a model, in its order.

    Attributes:
        known: those that can become MoE layers.
        aside: why some of them do so only if they are named, by name.
        refused: why others cannot that have the parts of an MLP, by name.
    """

    known: list[Candidate]
    aside: Mapping[str, str]
    refused: Mapping[str, str]


def survey(model: nn.Module, adapter: Adapter | None = None) -> Survey:
    """Find the MLPs of `model`, and what keeps some of them from becoming MoE layers."""
    known: list[Candidate] = []
    with unwrapped(model):
        refused = {
            _joined(name, part): reason
            for name, module in model.named_modules()
            for part, reason in refused_splits(module).items()
        }
        for candidate, problem in _checked(model.named_modules(), adapter):
            if problem:
                refused[candidate.name] = problem
            else:
                known.append(candidate)
        known = _innermost(known)
        if [candidate.name for candidate in known] == [""]:
            known, refused[""] = [], "is the whole model; type nn.Sequential(model)"
        mlps = {candidate.name: candidate.mlp for candidate in known}
        aside = in_mixtures(model, mlps) or seeing_no_tokens(model, mlps)
        refused = refused if known or refused else obstacles(model)
    return Survey(known, aside, refused)


def candidates(model: nn.Module, adapter: Adapter | None = None) -> list[Candidate]:
    """Return every MLP of `model` that can become an MoE layer, in the model's order."""
    with unwrapped(model):
        checked = _checked(model.named_modules(), adapter)
        known = _innermost([candidate for candidate, problem in checked if not problem])
        return [candidate for candidate in known if candidate.name]


def _innermost(known: list[Candidate]) -> list[Candidate]:
    """Return MLPs without those that do nothing but call another of them."""
    names = [candidate.name for candidate in known]
    return [
        candidate
        for candidate in known
        if not any(is_inside(name, candidate.name) for name in names)
    ]


def readable(model: nn.Module, adapter: Adapter | None = None) -> list[Candidate]:
    """Return every MLP of `model` in every way that it can be read, whatever it computes.

    Those of people's own code come last, read by what they compute.
    """
    with unwrapped(model):
        every = [
            candidate
            for name, module in model.named_modules()
            for candidate in _read_all(name, module, adapter)
        ]
        tried = [(name, module) for name, module in model.named_modules() if may_be_mlp(module)]
        return every + [each for each, problem in _checked(tried, adapter) if not problem]


def _read_all(name: str, module: nn.Module, adapter: Adapter | None) -> Iterator[Candidate]:
    readers = [read for read in _readers(name, module, adapter) if not isinstance(read, Trial)]
    for read in readers:
        yield from (_candidate(name, reading) for reading in read(module))


def _checked(
    modules: Iterable[tuple[str, nn.Module]], adapter: Adapter | None
) -> Iterator[tuple[Candidate, str]]:
    """Yield each MLP, and how it differs from what is read of it, or nothing."""
    verdicts: dict[Hashable, Verdict] = {}  # of modules that differ in their weights alone
    for name, module in modules:
        readers = _readers(name, module, adapter)
        alike = len(readers), kind(module)
        if alike not in verdicts:
            verdicts[alike] = _verdict(module, readers)
        read, problem = verdicts[alike]
        if read is not None:
            yield from ((_candidate(name, reading), problem) for reading in read(module))


def _verdict(module: nn.Module, readers: Sequence[Read]) -> Verdict:
    """Return the first reader that reads what a module computes; or the first, and its fault."""
    refused: Verdict = (None, "")
    for read in readers:
        if not read(module):
            continue
        problem = fault(module, read)
        if not problem:
            return read, ""
        refused = (read, problem) if refused[0] is None else refused
    return refused


def _readers(name: str, module: nn.Module, adapter: Adapter | None) -> list[Read]:
    """Return what may read a module: the adapter if it knows it, or else ours."""
    if adapter is not None and adapter(module) is not None:
        return [lambda other: _listed(adapter(other))]
    if mixes_tokens(name):
        return []
    return [_read_names, _read_source, read_splits, Trial()]


def _read_names(module: nn.Module) -> Sequence[Reading]:
    return _listed(read_mlp(module))


def _read_source(module: nn.Module) -> Sequence[Reading]:
    return _listed(read_chain(module))


def _listed(reading: Reading | None) -> Sequence[Reading]:
    return [] if reading is None else [reading]


def _candidate(name: str, reading: Reading) -> Candidate:
    """Return what was read of the module `name`, with the names of its parts in the model."""
    if isinstance(reading, DenseMLP):
        return Candidate(name, reading, name)
    also = {_joined(name, part): module for part, module in reading.also.items()}
    settings = {_joined(name, attribute): value for attribute, value in reading.settings.items()}
    first, last = _joined(name, reading.first), _joined(name, reading.last)
    return Candidate(first, reading.mlp, last, also, settings)


def _joined(name: str, part: str) -> str:
    return f"{name}.{part}" if name and part else name + part


def mixes_tokens(name: str) -> bool:
    """Return whether a module of this name mixes tokens with each other, as in an MLP-Mixer."""
    return name.rsplit(".", 1)[-1] in TOKEN_MIXERS


def looks_like_mlp(module: nn.Module) -> bool:
    """Return whether the class of a module is named like an MLP."""
    kind = type(module).__name__.lower()
    return any(part in kind for part in ("mlp", "feedforward", "ffn"))
