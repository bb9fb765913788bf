r"""Time of expert matmuls by layout of weights, precision and compiler, against the dense MLP.

    python -m moesuite.benchmarks.speed.layouts experts=8,64 groups=16 tokens=196 dim=384 \
        hidden=1536 seconds=20

Forward+backward with a gradient for the input, in turns, once with glibc as it is and once with
freed memory kept (`moesuite.keep_freed_memory`). All rows do the work of the dense MLP; its time
under each policy is the unit.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.benchmarks.speed.contestants import Contestant, Dense, Size, both
from moesuite.benchmarks.speed.layer import SizeOptions
from moesuite.compute.memory import keep_freed_memory
from moesuite.compute.timing import interleaved
from moesuite.config.cli import run_command
from moesuite.nn.grouped_linear import Layout, Tile, grouped_linear, layout

BLOCK = 8  # experts at a time in the blocked variant


class Stacked(nn.Module):
    """Weights [E, in, out], or [E, out, in] if `transposed`; `linear` maps [E, N, in]."""

    def __init__(
        self, size: Size, linear: Callable[..., Tensor], transposed: bool = False, block: int = 0
    ) -> None:
        super().__init__()
        self.linear = linear
        self.block = block or size.num_experts
        shapes = [(size.dim, size.hidden), (size.hidden, size.dim)]
        self.weights = nn.ParameterList(
            torch.randn(size.num_experts, *(shape[::-1] if transposed else shape))
            * shape[0] ** -0.5
            for shape in shapes
        )
        self.biases = nn.ParameterList(torch.zeros(size.num_experts, shape[1]) for shape in shapes)

    def forward(self, x: Tensor) -> Tensor:
        """[E, N, D] -> [E, N, D]."""
        (up, down), (up_bias, down_bias) = self.weights, self.biases
        parts = zip(*(t.split(self.block) for t in (x, up, up_bias, down, down_bias)), strict=True)
        outputs = [self.linear(F.gelu(self.linear(part, a, b)), c, d) for part, a, b, c, d in parts]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


class PerExpert(nn.Module):
    """One parameter per expert."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Dense(size) for _ in range(size.num_experts))

    def forward(self, x: Tensor) -> Tensor:
        """[E, N, D] -> [E, N, D]."""
        return torch.stack(
            [expert(part) for expert, part in zip(self.experts, x.unbind(0), strict=True)]
        )


def batched(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One batched matmul."""
    return torch.baddbmm(bias[:, None], x, weight)


def batched_transposed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One batched matmul with weights [E, out, in]."""
    return torch.baddbmm(bias[:, None], x, weight.mT)


def unbound(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A loop over unbound weights."""
    layers = zip(x.unbind(0), weight.unbind(0), bias.unbind(0), strict=True)
    return torch.stack([torch.addmm(b, part, w) for part, w, b in layers])


def in_pairs(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Two experts at a time, as for ragged routings; gradients are written in place."""
    where = layout([x.shape[1]] * len(x))
    return grouped_linear(x.flatten(0, 1), weight, bias, where).unflatten(0, x.shape[:2])


def one_by_one(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same with one expert at a time."""
    count = x.shape[1]
    tiles = [Tile(slice(expert, expert + 1), 1, count) for expert in range(len(x))]
    where = Layout(tiles, list(range(0, len(x) * count, count)), len(x) * count)
    return grouped_linear(x.flatten(0, 1), weight, bias, where).unflatten(0, x.shape[:2])


def grouped_mm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Torch's own grouped matmul."""
    ends = torch.arange(1, len(x) + 1, dtype=torch.int32) * x.shape[1]
    return (
        F.grouped_mm(x.flatten(0, 1), weight, offs=ends).unflatten(0, x.shape[:2]) + bias[:, None]
    )


def autocast(layer: nn.Module, x: Tensor) -> Tensor:
    """Run in bfloat16 by autocast: float32 weights are cast at every forward."""
    with torch.autocast("cpu", torch.bfloat16):
        return layer(x)


def in_bfloat16(layer: nn.Module, x: Tensor) -> Tensor:
    """Run a layer whose weights are bfloat16 already, as with a cached cast."""
    return layer(x.bfloat16())


def variants(size: Size) -> dict[str, Contestant]:
    """Return every layout by name."""
    torch.manual_seed(0)
    x = torch.randn(size.num_experts, size.rows // size.num_experts, size.dim)
    rows = x.flatten(0, 1)
    layers = {
        "bmm, [E, in, out]": Stacked(size, batched),
        "bmm, [E, out, in]": Stacked(size, batched_transposed, transposed=True),
        f"bmm, {BLOCK} experts at a time": Stacked(size, batched, block=BLOCK),
        "one parameter per expert": PerExpert(size),
        "loop over unbind": Stacked(size, unbound),
        "loop, gradients in place": Stacked(size, one_by_one),
        "pairs, gradients in place": Stacked(size, in_pairs),
        "torch grouped_mm": Stacked(size, grouped_mm),
    }
    timed = {"dense": Contestant(Dense(size), rows, size.hidden)}
    timed |= {name: Contestant(layer, x, size.hidden) for name, layer in layers.items()}
    compiled = torch.compile(Stacked(size, batched), fullgraph=True)
    assert isinstance(compiled, nn.Module)
    timed["bmm, torch.compile"] = Contestant(compiled, x, size.hidden)
    timed["dense, bf16 autocast"] = Contestant(Dense(size), rows, size.hidden, autocast)
    timed["bmm, bf16 autocast"] = Contestant(Stacked(size, batched), x, size.hidden, autocast)
    timed["bmm, bf16 weights"] = Contestant(
        Stacked(size, batched).bfloat16(), x, size.hidden, in_bfloat16
    )
    return timed


def medians(size: Size, seconds: float) -> dict[str, float]:
    """Time all variants in turns."""
    timed = variants(size)
    samples = interleaved([both(contestant) for contestant in timed.values()], seconds, least=3)
    return dict(zip(timed, map(statistics.median, samples), strict=True))


def run(options: SizeOptions) -> None:
    """Measure under both policies and print a table."""
    seconds, sizes = options.seconds, options.sizes()
    columns = [medians(size, seconds) for size in sizes]
    keep_freed_memory()
    columns += [medians(size, seconds) for size in sizes]
    tokens, threads = sizes[0].groups * sizes[0].tokens, torch.get_num_threads()
    table = Table(title=f"{tokens} tokens, forward+backward / dense, {threads} threads")
    table.add_column("layout")
    for policy in ("", ", memory kept"):
        for size in sizes:
            table.add_column(f"E={size.num_experts}{policy}", justify="right")
    for name in columns[0]:
        table.add_row(name, *(f"{column[name] / column['dense']:.2f}" for column in columns))
    table.add_row("dense, ms", *(f"{1000 * column['dense']:.0f}" for column in columns))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    run_command(run, SizeOptions, __doc__)
