"""Cost tables of papers, recomputed.

    python -m moesuite.compute table=soft_moe                  the cost table of the Soft MoE paper
    python -m moesuite.compute table=soft_moe format=json

FLOPs are of one image, 2 per multiply-add; what the paper prints stands beside.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field
from rich import box
from rich.console import Console
from rich.table import Table

from moesuite.config.cli import Format, Options, importing, run_command


def table_rows(name: str) -> list[dict[str, Any]]:
    """Return the models of a paper's table with their cost, and what the paper prints."""
    with importing():
        import torch

        from moesuite.compute.cost import cost
        from moesuite.compute.paper_models import TABLES

    rows = []
    for model in TABLES[name]:
        model_cost = cost(model.build(), torch.empty(1, 3, 224, 224, device="meta"))
        rows.append(
            {
                "model": model.name,
                "params": model_cost.parameters_total,
                "gflop_per_image": model_cost.forward.executed.total / 1e9,
                "paper_params": None if model.params is None else model.params[0],
                "paper_gflop_per_image": model.gflop,
            }
        )
    return rows


def print_rows(rows: list[dict[str, Any]], style: str) -> None:
    """Print models beside what their paper prints, as `table` or `markdown`."""
    table = Table("model", box=box.MARKDOWN if style == "markdown" else box.SQUARE)
    for heading in ("parameters", "paper", "GFLOP/image", "paper"):
        table.add_column(heading, justify="right")
    for row in rows:
        printed = row["paper_gflop_per_image"]
        table.add_row(
            row["model"],
            _count(row["params"]),
            _count(row["paper_params"]),
            f"{row['gflop_per_image']:.2f}",
            "" if printed is None else f"{printed:g}",
        )
    Console().print(table)


def _count(number: int | float | None) -> str:
    """Return a number of parameters as papers print it."""
    if number is None:
        return ""
    return f"{number / 1e9:.1f} B" if number >= 1e9 else f"{number / 1e6:.0f} M"


class TableOptions(Options):
    """Options of the command."""

    table: Literal["soft_moe"] = Field("soft_moe", description="the paper's table")
    format: Format = Field("table", description="how it is printed")


def run(options: TableOptions) -> None:
    """Print a table."""
    rows = table_rows(options.table)
    if options.format == "json":
        keys = ("model", "params", "gflop_per_image")
        print(json.dumps([{key: row[key] for key in keys} for row in rows], indent=1))
    else:
        print_rows(rows, options.format)


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    run_command(run, TableOptions, __doc__)


if __name__ == "__main__":
    main()
