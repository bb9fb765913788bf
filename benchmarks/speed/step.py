r"""A whole training step of one MoE layer: forward and backward, the optimizer, routing statistics.

    python -m moesuite.benchmarks.speed.step experts=8,64 groups=16 tokens=196 dim=384 \
        hidden=1536 seconds=20

AdamW over the experts' weights in its three forms, in turns with forward+backward of the same
layer. `statistics` is what a step that logs adds: counting loads, drops and demand.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from moesuite.benchmarks.speed.contestants import Size, both, contestants
from moesuite.benchmarks.speed.layer import SizeOptions
from moesuite.compute.memory import keep_freed_memory
from moesuite.compute.timing import interleaved
from moesuite.config.cli import run_command
from moesuite.nn.moe import MoE
from moesuite.nn.stats import count

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "fused": partial(torch.optim.AdamW, lr=0.0, fused=True),
    "foreach": partial(torch.optim.AdamW, lr=0.0, foreach=True),
    "loop": partial(torch.optim.AdamW, lr=0.0, foreach=False),
}


def parts(size: Size, router: str) -> dict[str, Callable[[], object]]:
    """Return the parts of a step by name; each can be repeated by itself."""
    layers = contestants(size, [router])
    layer = layers[router].layer
    assert isinstance(layer, MoE)
    passes = both(layers[router])
    passes()
    for parameter in layer.parameters():
        parameter.grad = torch.randn_like(parameter) * 1e-6
    gradients = [parameter.grad for parameter in layer.parameters()]
    functions: dict[str, Callable[[], object]] = {
        "dense": both(layers["dense"]),
        "forward+backward": passes,
    }
    for name, build in OPTIMIZERS.items():
        optimizer = build(layer.parameters())

        def step(optimizer: torch.optim.Optimizer = optimizer) -> None:
            for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            layer.zero_grad()

        functions[f"AdamW, {name}"] = step
    routing = layer.routing
    assert routing is not None
    functions["statistics"] = lambda: count(routing)
    return functions


def run(options: SizeOptions) -> None:
    """Measure every size and print a table."""
    keep_freed_memory()
    what = "milliseconds (share of forward+backward and fused AdamW)"
    table = Table(title=f"{what}, {torch.get_num_threads()} threads")
    table.add_column("part")
    columns = []
    for size in options.sizes():
        functions = parts(size, "token_choice")
        samples = interleaved(list(functions.values()), options.seconds, least=3)
        columns.append(dict(zip(functions, map(statistics.median, samples), strict=True)))
        table.add_column(f"E={size.num_experts}", justify="right")
    for name in columns[0]:
        whole = [column["forward+backward"] + column["AdamW, fused"] for column in columns]
        table.add_row(
            name,
            *(
                f"{1000 * c[name]:.2f} ({c[name] / w:.3f})"
                for c, w in zip(columns, whole, strict=True)
            ),
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    run_command(run, SizeOptions, __doc__)
