r"""Time and memory of an MoE layer against bare expert matmuls, the dense MLP, and peers.

    python -m moesuite.benchmarks.speed.layer experts=8,64 groups=16 tokens=196 dim=384 \
        hidden=1536 seconds=30

Forward and forward+backward in float32 (`precision=bf16-mixed`: autocast), on the CPU or by
`device=cuda`, every contestant called in turns in one process. `bare` is the stacked experts on
ready-made slots, with no router and no dispatch. `layers=` takes names of routers and peers,
"routers" and "peers" for all of them; peers need the extra `peers`. Freed memory is kept
(`moesuite.keep_freed_memory`) for all contestants alike; `keep=0` leaves glibc as it is. A layer
that would do more than twice the expert work (ReLU gates before training) is left out;
mixtral-eager needs more than 24 GiB at 128 experts.
"""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from rich.console import Console
from rich.table import Table

from moesuite.benchmarks.speed.contestants import PEERS, Size, both, contestants, forward
from moesuite.compute.memory import keep_freed_memory
from moesuite.compute.timing import CPU, interleaved, peak_of
from moesuite.config.cli import Options, run_command
from moesuite.discovery.names import router_names
from moesuite.errors import UserError, unknown

LAYERS = "routers and peers; routers, peers: all of them"


class SizeOptions(Options):
    """Sizes of a layer, and how long each is measured."""

    experts: list[PositiveInt] = Field([8, 64], min_length=1, description="numbers of experts")
    groups: list[PositiveInt] = Field([16], min_length=1, description="numbers of groups")
    tokens: int = Field(196, ge=1, description="tokens of a group")
    dim: int = Field(384, ge=1, description="width of a token")
    hidden: int = Field(1536, ge=1, description="width of the hidden layer of the dense MLP")
    seconds: PositiveFloat = Field(20, description="of each measurement")

    def sizes(self) -> list[Size]:
        """Return every combination of the numbers of groups and experts."""
        return [
            Size(groups, self.tokens, self.dim, self.hidden, num_experts)
            for groups, num_experts in itertools.product(self.groups, self.experts)
        ]


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


def measure(
    size: Size, seconds: float, names: list[str] | None = None, device: torch.device = CPU
) -> list[Row]:
    """Time all contestants in turns on `device`, `seconds` for each of the two passes."""
    layers = contestants(size, names, device)
    alone = _medians([forward(c) for c in layers.values()], seconds, device)
    whole = _medians([both(c) for c in layers.values()], seconds, device)
    dense, bare = list(layers).index("dense"), list(layers).index("bare")
    return [
        Row(
            name,
            contestant.hidden,
            1000 * alone[i],
            alone[i] / alone[dense],
            1000 * whole[i],
            whole[i] / whole[dense],
            whole[i] / whole[bare],
            peak_of(both(contestant), device) / 2**20,
        )
        for i, (name, contestant) in enumerate(layers.items())
    ]


def _medians(
    functions: Sequence[Callable[[], object]], seconds: float, device: torch.device
) -> list[float]:
    samples = interleaved(functions, seconds, least=3, device=device)
    return [statistics.median(sample) for sample in samples]


def device_of(name: str) -> torch.device:
    """Return the device that `device=` names.

    Raises:
        UserError: for one that is not here.
    """
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UserError(
            f"device={name}: expected cpu, or cuda on a machine that has it, e.g. device=cpu"
        )
    return torch.device(name)


def layer_names(words: Sequence[str]) -> list[str]:
    """Return the contestants that `layers=` names; routers, peers: all of them.

    Raises:
        UserError: for a name that is neither a router nor a peer.
    """
    names: list[str] = []
    for word in words:
        names += {"routers": router_names(), "peers": list(PEERS)}.get(word, [word])
        if word not in ("routers", "peers", *router_names(), *PEERS):
            raise unknown(
                "layer",
                word,
                [*router_names(), *PEERS, "peers", "routers"],
                "layers=token_choice,soft,peers",
            )
    return names


def show(
    size: Size, seconds: float, names: list[str], keep: bool, device: torch.device, bf16: bool
) -> None:
    """Measure one size and print its table."""
    if keep:
        keep_freed_memory()
    title = (
        f"{size.groups * size.tokens} tokens in {size.groups} groups, D {size.dim}, "
        f"{size.num_experts} experts, {size.rows} rows of expert work, "
        f"{'bf16-mixed' if bf16 else 'float32'}, {_machine(device)}"
    )
    table = Table(title=title)
    for column in (
        "layer",
        "hidden",
        "forward ms",
        "/ dense",
        "forward+backward ms",
        "/ dense",
        "/ bare",
        "peak MiB",
    ):
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        rows = measure(size, seconds, names, device)
    for row in rows:
        forward = (f"{row.forward_ms:.2f}", f"{row.forward_to_dense:.2f}")
        both = (f"{row.both_ms:.2f}", f"{row.both_to_dense:.2f}", f"{row.both_to_bare:.2f}")
        table.add_row(row.name, str(row.hidden), *forward, *both, f"{row.peak:.0f}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{torch.get_num_threads()} threads"


class LayerOptions(SizeOptions):
    """Options of the command."""

    seconds: PositiveFloat = Field(30, description="of each pass")
    keep: bool = Field(True, description="keep freed memory; false: leave glibc as it is")
    layers: list[str] = Field(["routers"], min_length=1, description=LAYERS)
    device: str = Field("cpu", description="cpu or cuda")
    precision: Literal["float32", "bf16-mixed"] = Field("float32", description="of the passes")


def run(options: LayerOptions) -> None:
    """Measure each size in a process of its own: kept memory would add up over sizes."""
    names = layer_names(options.layers)
    device, bf16 = device_of(options.device), options.precision == "bf16-mixed"
    processes = multiprocessing.get_context("spawn")
    for size in options.sizes():
        child = processes.Process(
            target=show, args=(size, options.seconds, names, options.keep, device, bf16)
        )
        child.start()
        child.join()
        if child.exitcode:
            print(
                f"{size}: no result, its process ended with {child.exitcode} (-9: out of memory)",
                file=sys.stderr,
            )


if __name__ == "__main__":
    run_command(run, LayerOptions, __doc__)
