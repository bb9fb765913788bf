"""Time and memory of one MoE layer against the bare expert matmuls, the dense MLP of equal FLOPs, and peers.

    python -m moesuite.benchmarks.speed.layer experts=8,64 groups=16 tokens=196 dim=384 hidden=1536 seconds=30

Forward and forward+backward in float32, every contestant called in turns in one process. `bare` is the stacked experts
on ready-made slots, with no router and no dispatch. `layers=` takes names of routers and peers, "routers" and "peers"
for all of them; peers need the extra `peers`. Freed memory is kept (`moesuite.keep_freed_memory`) for all contestants
alike; `keep=0` leaves glibc as it is. A layer that would do more than twice the expert work (ReLU gates before
training) is left out; mixtral-eager needs more than 24 GiB at 128 experts.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from moesuite.benchmarks.speed.command import Values, command, sizes
from moesuite.benchmarks.speed.contestants import PEERS, Size, both, contestants, forward
from moesuite.errors import unknown
from moesuite.memory import keep_freed_memory
from moesuite.plugins import router_names
from moesuite.timing import interleaved, peak_of


@dataclass(frozen=True)
class Row:
    """Median milliseconds, ratios of interleaved medians, and MiB above the resident weights."""

    name: str
    hidden: int
    forward_ms: float
    forward_to_dense: float
    both_ms: float
    both_to_dense: float
    both_to_bare: float
    peak: float


def measure(size: Size, seconds: float, names: list[str] | None = None) -> list[Row]:
    """Time all contestants in turns, `seconds` for each of the two passes."""
    found = contestants(size, names)
    alone = _medians([forward(c) for c in found.values()], seconds)
    whole = _medians([both(c) for c in found.values()], seconds)
    dense, bare = list(found).index("dense"), list(found).index("bare")
    return [
        Row(
            name,
            contestant.hidden,
            1000 * alone[i],
            alone[i] / alone[dense],
            1000 * whole[i],
            whole[i] / whole[dense],
            whole[i] / whole[bare],
            peak_of(both(contestant)) / 2**20,
        )
        for i, (name, contestant) in enumerate(found.items())
    ]


def _medians(functions: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    return [statistics.median(sample) for sample in interleaved(functions, seconds, least=3)]


def layer_names(text: str) -> list[str]:
    """Return the contestants that `layers=` names: routers, "routers" for all of them, "peers".

    Raises:
        UserError: for a name that is neither a router nor a peer.
    """
    names: list[str] = []
    for word in text.split(","):
        names += {"routers": router_names(), "peers": list(PEERS)}.get(word, [word])
        if word not in ("routers", "peers", *router_names(), *PEERS):
            raise unknown(
                "layer", word, [*router_names(), *PEERS, "peers", "routers"], "layers=token_choice,soft,peers"
            )
    return names


def show(size: Size, seconds: float, names: list[str], keep: bool) -> None:
    """Measure one size and print its table."""
    if keep:
        keep_freed_memory()
    title = (
        f"{size.groups * size.tokens} tokens in {size.groups} groups, D {size.dim}, {size.num_experts} experts, "
        f"{size.rows} rows of expert work, float32, {torch.get_num_threads()} threads"
    )
    table = Table(title=title)
    for column in ("layer", "hidden", "forward ms", "/ dense", "forward+backward ms", "/ dense", "/ bare", "peak MiB"):
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=True)
    for row in measure(size, seconds, names):
        forward = (f"{row.forward_ms:.1f}", f"{row.forward_to_dense:.2f}")
        both = (f"{row.both_ms:.1f}", f"{row.both_to_dense:.2f}", f"{row.both_to_bare:.2f}")
        table.add_row(row.name, str(row.hidden), *forward, *both, f"{row.peak:.0f}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def run(values: Values) -> None:
    """Measure every size that is asked for, each in a process of its own: kept memory would add up over sizes."""
    names = layer_names(values["layers"])
    processes = multiprocessing.get_context("spawn")
    for size in sizes(values):
        child = processes.Process(target=show, args=(size, float(values["seconds"]), names, values["keep"] == "1"))
        child.start()
        child.join()
        if child.exitcode:
            print(f"{size}: no result, its process ended with {child.exitcode} (-9: out of memory)", file=sys.stderr)


if __name__ == "__main__":
    command(__doc__, run, seconds="30", keep="1", layers="routers")
