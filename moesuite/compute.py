"""What a model costs: floating-point operations, parameters and activation memory, of any size, without running it.

Activated: what routed tokens need. Executed: what really runs, empty slots and fill-up included; the difference is
`padding`. 1 multiply-add = 2 FLOPs, GFLOP = 10⁹ FLOPs; see `moesuite.counting` for what is counted.

    python -m moesuite.compute table=soft_moe                  the cost table of the Soft MoE paper
    python -m moesuite.compute table=soft_moe format=json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from moesuite.accounting import Inputs, LayerPass, Pass, account
from moesuite.config.cli import FORMATS, bad_input_exits, take
from moesuite.errors import unknown
from moesuite.nn.moe import call, evaluating, moe_layers
from moesuite.records.compute import Split
from moesuite.routing.forms import Routing


@dataclass(frozen=True)
class Account:
    """FLOPs of one pass of one example, by part."""

    activated: Split
    executed: Split


@dataclass(frozen=True)
class LayerCost:
    """Cost of one MoE layer for one example, without the backbone's share; see `Cost`."""

    name: str
    forward: Account
    training: Account
    slots_per_token: float
    parameters_total: int
    parameters_active: int


@dataclass(frozen=True)
class Cost:
    """Cost of one example.

    Attributes:
        forward: one forward pass in evaluation.
        training: forward and backward in training, all parameters trained.
        layers: every MoE layer by itself; empty for a dense model.
        slots_per_token: expert work per token relative to the dense MLP in `forward`, over all MoE layers; 1 if none.
        parameters_total, parameters_active: active counts, of the experts' parameters, one expert's times
            `slots_per_token`.
        activation_bytes: that a training step keeps for its backward pass.
        uncounted: "module: operation" for everything without a formula.
    """

    forward: Account
    training: Account
    layers: list[LayerCost]
    slots_per_token: float
    parameters_total: int
    parameters_active: int
    activation_bytes: float
    uncounted: list[str]


def cost(
    model: nn.Module, inputs: Inputs, batch: int | None = None, routings: Mapping[str, Routing] | None = None
) -> Cost:
    """Account one example of `model`, which is neither run nor changed, and may be on the meta device.

    Args:
        model: with or without MoE layers.
        inputs: a tensor, or keyword arguments, on any device.
        batch: number of examples in `inputs`, >= 1; None: the length of its first axis.
        routings: of the forward pass, as `measured` gave them; None: what is to be expected: each router as it stands,
            on standard normal tokens; one whose work depends on values (`Router.adaptive`) at its budget.

    Raises:
        UserError: for inputs that the model refuses.

    Example:
        >>> import timm
        >>> with torch.device("meta"):
        ...     model = timm.create_model("vit_tiny_patch16_224")
        >>> found = cost(model, torch.empty(1, 3, 224, 224, device="meta"))
        >>> round(found.forward.executed.total / 1e9, 2)
        2.51
    """
    first = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
    size = len(first) if batch is None else batch
    return combine(model, account(model, inputs, False, routings), account(model, inputs, True), size)


def combine(model: nn.Module, forward: Pass, training: Pass, size: int) -> Cost:
    """Return the cost of one example from two passes over a batch of `size`."""
    layers = [
        LayerCost(name, _per_example(forward.layers[name], size), _per_example(training.layers[name], size), *numbers)
        for name, numbers in _parameters(model, forward).items()
    ]
    works = [layer.work for layer in forward.layers.values()]
    total = sum(parameter.numel() for parameter in model.parameters())
    return Cost(
        forward=_whole(forward, size),
        training=_whole(training, size),
        layers=layers,
        slots_per_token=sum(w.slots for w in works) / sum(w.tokens for w in works) if works else 1.0,
        parameters_total=total,
        parameters_active=total - sum(layer.parameters_total - layer.parameters_active for layer in layers),
        activation_bytes=training.saved / size,
        uncounted=sorted(forward.uncounted | training.uncounted),
    )


def measured(model: nn.Module, inputs: Inputs) -> dict[str, Routing]:
    """Run one forward pass of `model` in evaluation and return the routing of each MoE layer."""
    with evaluating(model), torch.no_grad():
        call(model, inputs)
    return {name: layer.routing for name, layer in moe_layers(model) if layer.routing is not None}


def _parameters(model: nn.Module, found: Pass) -> dict[str, tuple[float, int, int]]:
    """Return slots per token, and parameters total and active, of each MoE layer."""
    numbers = {}
    for name, layer in moe_layers(model):
        slots = found.layers[name].work.slots_per_token
        total = sum(parameter.numel() for parameter in layer.parameters())
        experts = sum(parameter.numel() for parameter in layer.experts.parameters())
        inactive = experts * max(0.0, 1 - slots / layer.experts.num_experts)
        numbers[name] = slots, total, round(total - inactive)
    return numbers


def _per_example(layer: LayerPass, batch: int) -> Account:
    return Account(layer.activated.over(batch), layer.executed.over(batch))


def _whole(found: Pass, batch: int) -> Account:
    """Add the backbone and all layers up, per example."""
    activated = executed = Split(backbone=found.backbone, router=0, dispatch_combine=0, experts=0, padding=0)
    for layer in found.layers.values():
        activated, executed = activated + layer.activated, executed + layer.executed
    return Account(activated.over(batch), executed.over(batch))


def table_rows(name: str) -> list[dict[str, Any]]:
    """Return the models of a paper's table with what they cost, and what the paper prints."""
    from moesuite.published import TABLES

    rows = []
    for model in TABLES[name]:
        found = cost(model.build(), torch.empty(1, 3, 224, 224, device="meta"))
        rows.append(
            {
                "model": model.name,
                "params": found.parameters_total,
                "gflop_per_image": found.forward.executed.total / 1e9,
                "paper_params": None if model.params is None else model.params[0],
                "paper_gflop_per_image": model.gflop,
            }
        )
    return rows


def show(rows: list[dict[str, Any]], style: str) -> None:
    """Print a table of models beside what their paper prints, as `table` or `markdown`."""
    shown = Table("model", box=box.MARKDOWN if style == "markdown" else box.SQUARE)
    for heading in ("parameters", "paper", "GFLOP/image", "paper"):
        shown.add_column(heading, justify="right")
    for row in rows:
        theirs = row["paper_gflop_per_image"]
        shown.add_row(
            row["model"],
            _count(row["params"]),
            _count(row["paper_params"]),
            f"{row['gflop_per_image']:.2f}",
            "" if theirs is None else f"{theirs:g}",
        )
    Console().print(shown)


def _count(number: int | float | None) -> str:
    """Return a number of parameters as papers print it."""
    if number is None:
        return ""
    return f"{number / 1e9:.1f} B" if number >= 1e9 else f"{number / 1e6:.0f} M"


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    from moesuite.published import TABLES

    with bad_input_exits():
        if {"--help", "-h"} & set(sys.argv[1:]):
            print(__doc__)
            return
        values, rest = take(sys.argv[1:], {"table": list(TABLES), "format": FORMATS})
        if rest:
            raise unknown("option", rest[0], ["table", "format"], "table=soft_moe format=json")
        rows = table_rows(values["table"])
        if values["format"] == "json":
            keys = ("model", "params", "gflop_per_image")
            print(json.dumps([{key: row[key] for key in keys} for row in rows], indent=1))
        else:
            show(rows, values["format"])


if __name__ == "__main__":
    main()
