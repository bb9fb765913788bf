"""The steps that make an MLP: up, activation, dropout, norm, down, dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from moesuite.models.mlps.linear import as_linear, is_linear
from moesuite.models.mlps.split.values import Step
from moesuite.models.mlps.twin import with_random_weights
from moesuite.nn.experts import DenseMLP

NO_ACTIVATIONS = (nn.Dropout, nn.LayerNorm)


class Function(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)


class Chain(NamedTuple):
    """The steps of an MLP, from its first linear layer on, by what they are."""

    up: Step
    act: Step
    drop1: Step | None
    norm: Step | None
    down: Step
    drop2: Step | None

    @property
    def steps(self) -> list[Step]:
        """Those that it has."""
        return [step for step in self if step is not None]


def chain_at(steps: Sequence[Step], start: int) -> Chain | None:
    """Return the MLP that begins with step number `start`, or None."""
    rest = [step for step in steps[start:] if not isinstance(step.part, nn.Identity)]

    def next_of(*kinds: type[nn.Module]) -> Step | None:
        return rest.pop(0) if rest and type(rest[0].part) in kinds else None

    up = rest.pop(0)
    is_act = rest and not is_linear(rest[0].part) and type(rest[0].part) not in NO_ACTIVATIONS
    act = rest.pop(0) if is_act else None
    drop1, norm = next_of(nn.Dropout), next_of(nn.LayerNorm)
    if act is None or not rest or not is_linear(rest[0].part):
        return None
    down = rest.pop(0)
    return Chain(up, act, drop1, norm, down, next_of(nn.Dropout))


def returns_to_width(up: nn.Module, down: nn.Module) -> bool:
    """Return whether two linear layers widen tokens, or keep their width, and then undo it."""
    first, last = as_linear(up), as_linear(down)
    if first is None or last is None:
        return False
    width, hidden = first.in_features, first.out_features
    return width <= hidden and (last.in_features, last.out_features) == (hidden, width)


def mlp_of(chain: Chain) -> DenseMLP | None:
    """Return the parts of an MLP whose linear layers fit, or None if it mixes tokens."""
    up, down = as_linear(chain.up.part), as_linear(chain.down.part)
    act = chain.act.part if isinstance(chain.act.part, nn.Module) else Function(chain.act.part)
    if up is None or down is None or not keeps_tokens_apart(act, up.out_features):
        return None
    norm = None if chain.norm is None else chain.norm.part
    drops = [nn.Identity() if step is None else step.part for step in (chain.drop1, chain.drop2)]
    return DenseMLP(up, None, down, act, drops[0], norm, drops[1])


@torch.no_grad()
def keeps_tokens_apart(act: nn.Module, width: int) -> bool:
    """Return whether an activation changes each token for itself, and keeps its width.

    Asked of a copy on the CPU, in training, where statistics of tokens would show.
    """
    with torch.device("cpu"):  # wherever the caller builds models
        return _keeps_rows_apart(act, width)


def _keeps_rows_apart(act: nn.Module, width: int) -> bool:
    rows = torch.randn(6, width, generator=torch.Generator().manual_seed(0))
    try:
        alike = with_random_weights(act)
        alike.train(not isinstance(act, nn.RReLU))  # it draws its slopes in training
        singly = torch.cat([alike(row[None]) for row in rows])
        together = [alike(rows), *(alike(rows.view(*shape, width)) for shape in ((2, 3), (1, 6)))]
        return singly.shape == rows.shape and all(
            torch.allclose(tokens.reshape(rows.shape), singly, atol=1e-6) for tokens in together
        )
    except Exception:  # of code that is not known
        return False
