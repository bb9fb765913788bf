"""Cost of a configuration without training: FLOPs, parameters, memory, beside the dense model's.

    python -m moesuite.profile backbone=vit_b16 router=soft num_experts=128
    python -m moesuite.profile task=wikitext2 router=switch format=json

Takes every option of `python -m moesuite.run`; nothing is trained, no weight gets memory, and no
data is read, except where a text's vocabulary is not known without it (task.tokenizer=word,
character, or a tokenizer's name). FLOPs are of one example, 2 per multiply-add; executed counts
empty slots too. `training` is forward and backward. Data-dependent routing is expected: each router
at its initialisation on random tokens; see `moesuite.cost` for models of your own.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from rich import box
from rich.console import Console
from rich.table import Column, Table

from moesuite.config.cli import Format, Options, Rest, run_command
from moesuite.config.compose import compose
from moesuite.config.schema import RunConfig

if TYPE_CHECKING:
    from moesuite.compute.cost import Cost, LayerCost

PARTS = {
    "backbone": "backbone",
    "router": "router",
    "dispatch + combine": "dispatch_combine",
    "experts": "experts",
    "padding": "padding",
}


def profile(config: RunConfig) -> tuple[Cost, Cost]:
    """Account the model of a configuration, and the matched dense one.

    Args:
        config: for example of `moesuite.compose("task=imagenet", "backbone=vit_b16",
            "router=soft")`.

    Raises:
        UserError: for a backbone or router that refuses its options.
    """
    import torch

    from moesuite.compute.cost import cost
    from moesuite.train.build import build_models, declare_task

    task = declare_task(config.task)
    blank = task.blank()
    backbone = config.backbone.model_copy(update={"pretrained": False})
    # whether a router looks ahead changes no cost, and is measured with real weights
    config = config.model_copy(update={"backbone": backbone, "allow_noncausal": True, "init": None})
    with torch.device("meta"):
        built = build_models(config, task, blank)
    return cost(built.model, blank), cost(built.dense, blank)


def lines(model: Cost, dense: Cost) -> list[tuple[str, float, float]]:
    """Return (what, of the model, of the dense one) for every line of the table."""
    rows = [
        ("parameters, total [M]", model.parameters_total / 1e6, dense.parameters_total / 1e6),
        ("parameters, active [M]", model.parameters_active / 1e6, dense.parameters_active / 1e6),
    ]
    for title, ours, theirs in (
        ("forward", model.forward, dense.forward),
        ("training", model.training, dense.training),
    ):
        rows += [
            (
                f"{title}, activated [GFLOP]",
                ours.activated.total / 1e9,
                theirs.activated.total / 1e9,
            ),
            (f"{title}, executed [GFLOP]", ours.executed.total / 1e9, theirs.executed.total / 1e9),
        ]
        rows += [
            (f"  {part}", getattr(ours.executed, key) / 1e9, getattr(theirs.executed, key) / 1e9)
            for part, key in PARTS.items()
        ]
    rows += [
        (
            "activations kept for backward [MiB]",
            model.activation_bytes / 2**20,
            dense.activation_bytes / 2**20,
        )
    ]
    return rows


def show(config: RunConfig, model: Cost, dense: Cost, style: str) -> None:
    """Print a table of the whole model and one of its MoE layers, as `table` or `markdown`."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    edge = box.MARKDOWN if style == "markdown" else box.SQUARE
    name = config.router["name"]
    table = Table(
        "per example",
        box=edge,
        title=f"{name} in {config.backbone.name}, {config.num_experts} experts",
    )
    for heading in (name, "dense", "ratio"):
        table.add_column(heading, justify="right")
    for what, ours, theirs in lines(model, dense):
        table.add_row(
            what, f"{ours:,.3f}", f"{theirs:,.3f}", f"{ours / theirs:.2f}" if theirs else ""
        )
    console.print(table)
    if model.layers:
        console.print(layer_table(model.layers, edge))
    else:
        console.print(f"router={name}: no MoE layers; this is the dense model")
    for entry in model.uncounted:
        console.print(f"not counted, no formula: {entry}")


def layer_table(layers: list[LayerCost], edge: box.Box) -> Table:
    """Return one line for each run of MoE layers that cost the same."""
    table = Table(
        Column("layer", no_wrap=True), box=edge, title="MoE layers, forward, executed, GFLOP each"
    )
    for heading in (
        "slots/token",
        "params",
        "active",
        "total",
        "router",
        "moving",
        "experts",
        "padding",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for figures, same in groupby(layers, key=_figures):
        names = [layer.name for layer in same]
        table.add_row(
            names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", *figures
        )
    return table


def _figures(layer: LayerCost) -> list[str]:
    executed = layer.forward.executed
    moving = executed.dispatch_combine
    parts = (executed.total, executed.router, moving, executed.experts, executed.padding)
    counts = (
        f"{number / 1e6:.1f} M" for number in (layer.parameters_total, layer.parameters_active)
    )
    return [f"{layer.slots_per_token:.3g}", *counts, *(f"{part / 1e9:.3f}" for part in parts)]


def as_json(model: Cost, dense: Cost) -> str:
    """Return both costs as JSON; keys are the attributes of `moesuite.compute.cost.Cost`."""

    def plain(value: Any) -> Any:
        return value.model_dump() if hasattr(value, "model_dump") else str(value)

    return json.dumps({"model": asdict(model), "dense": asdict(dense)}, indent=1, default=plain)


class ProfileOptions(Options):
    """Options of the command."""

    format: Format = Field("table", description="how the cost is printed")
    run: Annotated[list[str], Rest("option=value of python -m moesuite.run")] = Field(
        [], description="the configuration; default: task=imagenet"
    )


def print_profile(options: ProfileOptions) -> None:
    """Print what a configuration costs."""
    words = options.run
    if not any(word.startswith("task=") for word in words):
        words = ["task=imagenet", *words]
    config = compose(*words)
    model, dense = profile(config)
    if options.format == "json":
        print(as_json(model, dense))
    else:
        show(config, model, dense, options.format)


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    run_command(print_profile, ProfileOptions, __doc__)


if __name__ == "__main__":
    main()
