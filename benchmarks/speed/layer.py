"""Time of one MoE layer against the bare expert matmuls and the dense MLP of equal FLOPs.

    python -m moesuite.benchmarks.speed.layer experts=8,64 groups=16 tokens=196 dim=384 hidden=1536 seconds=20

Forward and forward+backward in float32, every contestant called in turns. The budget is one slot per token, so that all
do the expert work of the dense MLP: `bare` is the stacked experts on ready-made slots, with no router and no dispatch.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from moesuite.errors import UserError, unknown
from moesuite.experts import DenseMLP, Experts
from moesuite.moe import MoE, aux_loss
from moesuite.plugins import build_router, router_names
from moesuite.router import LayerSpec
from moesuite.timing import interleaved


@dataclass(frozen=True)
class Size:
    """Sizes of the layer: G groups of T tokens, width D, hidden width H, E experts."""

    groups: int
    tokens: int
    dim: int
    hidden: int
    num_experts: int


@dataclass(frozen=True)
class Row:
    """Median milliseconds, and ratios of interleaved medians."""

    name: str
    forward_ms: float
    forward_to_dense: float
    both_ms: float
    both_to_dense: float
    both_to_bare: float


class Dense(nn.Module):
    """The dense MLP in the plain form of timm's."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size.dim, size.hidden), nn.Linear(size.hidden, size.dim)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """[G, T, D] -> [G, T, D]."""
        return self.fc2(self.act(self.fc1(x)))


def contestants(size: Size) -> dict[str, tuple[nn.Module, Tensor]]:
    """Return every layer with its input; all do G·T rows of expert work."""
    torch.manual_seed(0)
    dense = Dense(size)
    mlp = DenseMLP(dense.fc1, None, dense.fc2, dense.act, nn.Identity(), None, nn.Identity())
    x = torch.randn(size.groups, size.tokens, size.dim)
    rows = size.groups * size.tokens // size.num_experts
    layers: dict[str, tuple[nn.Module, Tensor]] = {
        "dense": (dense, x),
        "bare": (Experts(mlp, size.num_experts), torch.randn(size.num_experts, rows, size.dim)),
    }
    spec = LayerSpec(size.dim, size.num_experts, 1.0, tokens=size.tokens)
    for name in router_names():
        if name != "dense":
            layers[name] = (MoE(build_router(name, spec, {}), Experts(mlp, size.num_experts)), x)
    return layers


def measure(size: Size, seconds: float) -> list[Row]:
    """Time all contestants in turns, `seconds` for each of the two passes."""
    layers = contestants(size)
    names = list(layers)
    forward = _medians([_forward(*layers[name]) for name in names], seconds)
    both = _medians([_both(*layers[name]) for name in names], seconds)
    dense, bare = names.index("dense"), names.index("bare")
    return [
        Row(
            name,
            1000 * forward[i],
            forward[i] / forward[dense],
            1000 * both[i],
            both[i] / both[dense],
            both[i] / both[bare],
        )
        for i, name in enumerate(names)
    ]


def _medians(functions: list[Callable[[], object]], seconds: float) -> list[float]:
    return [statistics.median(sample) for sample in interleaved(functions, seconds)]


def _forward(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    def forward() -> None:
        with torch.no_grad():
            layer(x)

    return forward


def _both(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    x = x.clone().requires_grad_()

    def both() -> None:
        output = layer(x)
        (output.sum() + aux_loss(layer)).backward()
        layer.zero_grad()
        x.grad = None

    return both


def main() -> None:
    """Run the command line; exits with 2 for an unknown option."""
    defaults = {"experts": "8,64", "groups": "16", "tokens": "196", "dim": "384", "hidden": "1536", "seconds": "20"}
    try:
        for word in sys.argv[1:]:
            key, _, value = word.partition("=")
            if key not in defaults:
                raise unknown("option", key, defaults, "experts=8,64")
            if not all(part.replace(".", "", 1).isdigit() for part in value.split(",")):
                raise UserError(f"{word}: allowed are positive numbers; type for example {key}={defaults[key]}")
            defaults[key] = value
        sizes = {key: int(defaults[key]) for key in ("groups", "tokens", "dim", "hidden")}
        for num_experts in defaults["experts"].split(","):
            show(Size(**sizes, num_experts=int(num_experts)), float(defaults["seconds"]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def show(size: Size, seconds: float) -> None:
    """Measure one size and print its table."""
    title = f"{size.groups * size.tokens} tokens, D {size.dim}, hidden {size.hidden}, {size.num_experts} experts, "
    table = Table(title=title + f"float32, {torch.get_num_threads()} threads")
    for column in ("layer", "forward ms", "/ dense", "forward+backward ms", "/ dense", "/ bare"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for row in measure(size, seconds):
        ratios = (f"{row.both_to_dense:.2f}", f"{row.both_to_bare:.2f}")
        table.add_row(row.name, f"{row.forward_ms:.1f}", f"{row.forward_to_dense:.2f}", f"{row.both_ms:.1f}", *ratios)
    Console().print(table)


if __name__ == "__main__":
    main()
