r"""Time, memory and FLOPs of one MoE layer as experts are added at a fixed number of slots.

    python -m moesuite.benchmarks.speed.scaling experts=1,2,4,8,16,32,64,128,256 \
        tokens=256 groups=8 seconds=20 layers=soft,expert_choice,token_choice plot=scaling.svg

T slots a group whatever E is, so that the expert FLOPs stay those of the dense MLP while parameters
grow E-fold. Each E runs in a process of its own, all contestants in turns; ratios are to the dense
MLP of that process. `bare` is the batched expert matmuls alone, the limit of any router. The claim
to compare with: Soft MoE H/14 with 128 experts has 40 times the parameters of ViT H/14 and takes 2
% more time per image (8.8 against 8.6 ms, Puigcerver et al. 2023,
https://arxiv.org/abs/2308.00951), for a whole model on accelerators. `plot=` needs the extra
`plot`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, PositiveInt
from rich.console import Console
from rich.table import Table

from moesuite.benchmarks.speed.contestants import Size, contestants
from moesuite.benchmarks.speed.layer import LAYERS, SizeOptions, layer_names, measure
from moesuite.compute.cost import cost
from moesuite.compute.memory import keep_freed_memory
from moesuite.config.cli import run_command
from moesuite.errors import UserError, refuse_unwritable
from moesuite.nn.moe import MoE

CLAIM = 8.8 / 8.6  # Soft MoE H/14 of 128 experts over ViT H/14, time per image


@dataclass(frozen=True)
class Point:
    """One layer with some number of experts: ratios to the dense MLP, and memory in MiB."""

    name: str
    num_experts: int
    parameters: float
    flops: float
    forward: float
    both: float
    memory: float


def measure_size(size: Size, seconds: float, names: list[str]) -> list[Point]:
    """Measure all layers of one size, in the process that calls."""
    keep_freed_memory()
    layers = contestants(size, names)
    weights = {name: sum(p.numel() for p in c.layer.parameters()) for name, c in layers.items()}
    dense = 2 * 2 * size.rows * size.dim * size.hidden  # two products
    flops = {"dense": 1.0, "bare": 1.0}
    for name, contestant in layers.items():
        if isinstance(contestant.layer, MoE):
            flops[name] = (
                cost(contestant.layer, contestant.x, batch=1).forward.executed.total / dense
            )
    return [
        Point(
            row.name,
            size.num_experts,
            weights[row.name] / weights["dense"],
            flops[row.name],
            row.forward_to_dense,
            row.both_to_dense,
            row.peak,
        )
        for row in measure(size, seconds, names)
    ]


def show(points: list[Point]) -> None:
    """Print a line for each layer and number of experts."""
    table = Table("experts", "layer", title="over the dense MLP of equal rows")
    for heading in ("parameters", "FLOPs", "forward", "forward+backward", "peak MiB"):
        table.add_column(heading, justify="right")
    for point in points:
        ratios = (point.parameters, point.flops, point.forward, point.both)
        figures = (f"{ratio:.2f}" for ratio in ratios)
        table.add_row(str(point.num_experts), point.name, *figures, f"{point.memory:.0f}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def draw(points: list[Point], path: Path) -> None:
    """Draw time, memory and FLOPs against the number of experts."""
    plots = importlib.import_module("matplotlib.figure")
    figure = plots.Figure(figsize=(13, 4), layout="constrained")
    axes = figure.subplots(1, 4)
    panels = {
        "forward": "forward / dense",
        "both": "forward+backward / dense",
        "memory": "peak MiB",
        "flops": "FLOPs / dense",
    }
    for axis, (field, title) in zip(axes, panels.items(), strict=True):
        for name in dict.fromkeys(point.name for point in points):
            line = [point for point in points if point.name == name]
            values = [getattr(point, field) for point in line]
            axis.plot([point.num_experts for point in line], values, label=name, marker=".")
        axis.set_xscale("log", base=2)
        axis.set(title=title, xlabel="experts")
        if field == "memory":
            axis.set_yscale("log")
    axes[0].axhline(CLAIM, linestyle=":", color="gray", label="claim: +2 %")
    axes[0].legend()
    figure.savefig(path)
    print(f"plot {path}")


def check_plot(path: Path) -> None:
    """Check before measuring that a plot can be written.

    Raises:
        UserError: if matplotlib or the folder is missing, or the suffix is not of a picture.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            f"plot={path} needs matplotlib; type pip install 'moesuite[plot]', or leave plot= out"
        )
    if not path.parent.is_dir() or path.suffix not in (".svg", ".png", ".pdf"):
        raise UserError(
            f"plot={path}: expected a .svg, .png or .pdf in a folder that exists, e.g. "
            "plot=scaling.svg"
        )
    refuse_unwritable(path.parent, f"plot={path}")


class ScalingOptions(SizeOptions):  # type: ignore[misc]
    """Options of the command."""

    experts: list[PositiveInt] = Field(
        [1, 2, 4, 8, 16, 32, 64, 128, 256], min_length=1, description="numbers of experts"
    )
    groups: list[PositiveInt] = Field([8], min_length=1, description="numbers of groups")
    tokens: int = Field(256, ge=1, description="tokens of a group")
    layers: list[str] = Field(
        ["soft", "expert_choice", "token_choice"], min_length=1, description=LAYERS
    )
    plot: Path | None = Field(
        None, examples=["scaling.svg"], description="picture to draw; needs the extra plot"
    )


def run(options: ScalingOptions) -> None:
    """Measure every number of experts, print the table, draw the plot."""
    names, points = layer_names(options.layers), []
    if options.plot is not None:
        check_plot(options.plot)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as processes:
        jobs = [
            processes.submit(measure_size, size, options.seconds, names) for size in options.sizes()
        ]
        for job in jobs:
            points += job.result()
            print(f"{points[-1].num_experts} experts measured", file=sys.stderr)
    show(points)
    if options.plot is not None:
        draw(points, options.plot)


if __name__ == "__main__":
    run_command(run, ScalingOptions, __doc__)
