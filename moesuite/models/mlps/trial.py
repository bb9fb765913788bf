"""MLPs of people's own code: two or three linear layers of any names, read by trying.

The parts say which layers there are (`moesuite.models.mlps.layout`). Which of them is the gate,
what the activation is and where dropout stands is tried, on random tokens with random weights; an
MLP is what comes out equal.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.errors import UserError
from moesuite.models.mlps.layout import Layout, layout
from moesuite.models.mlps.linear import as_linear, halves
from moesuite.models.mlps.split.chain import Function, keeps_tokens_apart
from moesuite.models.mlps.split.read import SplitMLP, read_chain
from moesuite.models.mlps.twin import with_random_weights
from moesuite.models.mlps.verify import (
    SEED,
    Reading,
    relative_difference,
    run,
    set_mode,
    tokens_of_all_scales,
)
from moesuite.nn.experts import DenseMLP

# of the largest output of a token: less than between GELU and its approximation
TOLERANCE = 1e-4
MOST_DROPOUTS = 3


def relu_squared(x: Tensor) -> Tensor:
    """Return relu(x)², of Primer (So et al., NeurIPS 2021)."""
    return F.relu(x).square()


def quick_gelu(x: Tensor) -> Tensor:
    """Return x · sigmoid(1.702 x), of Hendrycks and Gimpel (2016)."""
    return x * torch.sigmoid(1.702 * x)


# activations that a forward may call by name
FUNCTIONS: list[Callable[[], nn.Module]] = [
    nn.SiLU,
    nn.GELU,
    partial(nn.GELU, "tanh"),
    nn.ReLU,
    nn.Sigmoid,
    nn.Tanh,
    partial(Function, relu_squared),
    partial(Function, quick_gelu),
    nn.Identity,  # of gates: bilinear
]


class Plan(NamedTuple):
    """What a module does with its parts: names of parts, or what makes an activation."""

    parts: Layout
    gate_last: bool
    act: str | Callable[[], nn.Module]
    drop1: str | None = None
    drop2: str | None = None


class Trial:
    """Reads modules of one kind; what the first of them computes, all do."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._is_tried = False

    def __call__(self, module: nn.Module) -> Sequence[Reading]:
        """Return the MLP that a module is, or that follows the norm it begins with."""
        tail = _behind_norm(module)
        mlp = None if tail is module else read_chain(tail)
        mlp = self._read(tail) if mlp is None else mlp
        if mlp is None:
            return []
        if tail is module:
            return [mlp]
        first, *rest = dict(tail.named_children())
        return [SplitMLP(mlp, first, rest[-1], {name: nn.Identity() for name in rest})]

    def _read(self, module: nn.Module) -> DenseMLP | None:
        if not self._is_tried:
            self._plan, self._is_tried = found_by_trying(module), True
        return None if self._plan is None else _mlp(module, self._plan)


def may_be_mlp(module: nn.Module) -> bool:
    """Return whether a module has the parts of an MLP, whatever it computes."""
    return isinstance(layout(_behind_norm(module)), Layout)


def obstacles(model: nn.Module) -> dict[str, str]:
    """Return what is in the way of the modules that are nearly MLPs, the innermost, by name.

    Raises:
        UserError: if the model is compiled to TorchScript, whose modules cannot be replaced.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise UserError(
            f"{type(model).__name__}: a model of torch.jit.script or torch.jit.trace; expected the "
            "model that it was made of: give that MoE layers, and export it afterwards"
        )
    modules = [
        (n, m) for n, m in model.named_modules() if not isinstance(m, torch.jit.ScriptModule)
    ]
    reasons = {name: _obstacle(module) for name, module in modules}
    nearly = [name for name, reason in reasons.items() if reason]
    around = {outer for outer in nearly for name in nearly if is_inside(name, outer)}
    return {name: reasons[name] for name in nearly if name not in around}


def is_inside(name: str, outer: str) -> bool:
    """Return whether a module of this name is within another, which may be the model: ""."""
    return name != outer and name.startswith(f"{outer}." if outer else "")


def _obstacle(module: nn.Module) -> str:
    parts = layout(_behind_norm(module))
    if isinstance(parts, str):
        return parts
    layers = ", ".join([*parts.first, parts.down])
    return f"computes something else with {layers} than down(act(up x)), down(act(gate x) · up x)"


def _behind_norm(module: nn.Module) -> nn.Module:
    """Return what follows the norm that a sequence begins with; other modules as they are."""
    children = list(module.named_children()) if isinstance(module, nn.Sequential) else []
    leading = list(itertools.takewhile(lambda child: "norm" in _kind(child[1]), children))
    rest = children[len(leading) :]
    if not leading or len(rest) < 2 or type(module).forward is not nn.Sequential.forward:
        return module
    tail = nn.Sequential(OrderedDict(rest))
    tail.training = module.training  # its parts keep their mode
    return tail


def _kind(module: nn.Module) -> str:
    return type(module).__name__.lower()


def _mlp(module: nn.Module, plan: Plan) -> DenseMLP | None:
    """Return the parts of an MLP as planned, or None if a linear layer is not plain."""
    paths = [*plan.parts.first, plan.parts.down]
    layers = [as_linear(module.get_submodule(path)) for path in paths]
    linears = [linear for linear in layers if linear is not None]
    if len(linears) < len(layers):
        return None
    *first, down = linears
    if first[0].out_features == 2 * down.in_features:
        first = [*halves(first[0])]
    gate, up = (None, *first) if len(first) == 1 else first
    if plan.gate_last:
        gate, up = up, gate
    assert up is not None
    norm: Any = None if plan.parts.norm is None else module.get_submodule(plan.parts.norm)
    drops = [_dropout(module, path) for path in (plan.drop1, plan.drop2)]
    return DenseMLP(up, gate, down, _act(module, plan.act), drops[0], norm, drops[1])


def _act(module: nn.Module, act: str | Callable[[], nn.Module]) -> nn.Module:
    part = _at(module, act) if isinstance(act, str) else act()
    return part if isinstance(part, nn.Module) else Function(part)


def _dropout(module: nn.Module, path: str | None) -> nn.Module:
    if path is None:
        return nn.Identity()
    part = _at(module, path)
    return part if isinstance(part, nn.Module) else nn.Dropout(part).train(module.training)


def _at(module: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)


@torch.no_grad()
def found_by_trying(module: nn.Module) -> Plan | None:
    """Return what a module does with its parts, or None if that is no MLP."""
    parts = layout(module)
    if isinstance(parts, str) or len(parts.dropouts) > MOST_DROPOUTS:
        return None
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        try:
            alike = with_random_weights(module)
            x = tokens_of_all_scales(parts.width)
            outputs = [run(alike.train(training), x, False) for training in (False, True)]
        except Exception:  # of code that is not known, which takes more than tokens
            return None
        if any(not isinstance(y, Tensor) or y.shape != x.shape for y in outputs):
            return None
        in_evaluation, in_training = (
            partial(_difference, alike, x, output, training)
            for training, output in enumerate(outputs)
        )
        dropless = min(_plans(alike, parts), key=in_evaluation)
        if in_evaluation(dropless) > TOLERANCE:
            return None
        drops = itertools.product([None, *parts.dropouts], repeat=2)
        plans = [dropless._replace(drop1=first, drop2=last) for first, last in drops]
        return min(plans, key=in_training)


def _plans(module: nn.Module, parts: Layout) -> Iterator[Plan]:
    """Yield what a module may do with its parts, but for dropout: its own activations first."""
    present = [path for path in parts.acts if keeps_tokens_apart(_act(module, path), parts.hidden)]
    linear = as_linear(module.get_submodule(parts.first[0]))
    assert linear is not None
    is_gated = len(parts.first) > 1 or linear.out_features > parts.hidden
    listed = FUNCTIONS if is_gated else FUNCTIONS[:-1]
    acts: list[str | Callable[[], nn.Module]] = [*present, *listed]
    for act, gate_last in itertools.product(acts, [False, True] if is_gated else [False]):
        yield Plan(parts, gate_last, act)


def _difference(
    module: nn.Module, x: Tensor, output: Tensor, training: bool | int, plan: Plan
) -> float:
    """Return how far the output of a module is from a plan of it."""
    mlp = _mlp(module, plan)
    assert mlp is not None
    set_mode(bool(training), module, mlp.drop1, mlp.drop2)
    torch.default_generator.manual_seed(SEED)
    difference = relative_difference(output, mlp(x))
    return difference if difference == difference else float("inf")
