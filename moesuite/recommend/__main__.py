"""Recommend how to upcycle a dense model: router, number of experts, capacity, and the cost.

    python -m moesuite.recommend model=timm:vit_base_patch16_224 budget=1.5
    python -m moesuite.recommend model=hf:gpt2 budget=1.2 parameters=3 records=runs

Routers are taken in the order of the records' boards, where those tell routers apart on tasks of
the model's kind, and else in that of published results; each is stated with its evidence. Costs are
counted as by `python -m moesuite.profile`, on the architecture; no weight is read.
"""

from __future__ import annotations

import sys

from pydantic import Field

from moesuite.config.cli import Format, Options, run_command

WIDTH = 140  # of a table that is not shown on a terminal


class RecommendOptions(Options):
    """Options of the command."""

    model: str = Field(
        examples=["timm:vit_base_patch16_224"],
        description="dense model: timm:<name>, hf:<folder, hub id or model type>, or the "
        "checkpoint of a dense run",
    )
    budget: float = Field(
        1.5,
        gt=0,
        le=1000,
        description="most FLOPs of a forward pass in evaluation, relative to the dense model's",
    )
    parameters: float = Field(
        4.0, ge=1, le=1000, description="most parameters, relative to the dense model's"
    )
    records: list[str] = Field(
        ["runs"],
        min_length=1,
        description="folders of records, or addresses that fsspec lists: the evidence",
    )
    alternatives: int = Field(3, ge=1, le=20, description="number of routers that are shown")
    length: int = Field(
        512, ge=1, le=1_000_000, description="tokens of a text, for its cost; at most the model's"
    )
    format: Format = Field("table", description="how the recommendation is printed")


def print_recommendation(options: RecommendOptions) -> None:
    """Print a recommendation."""
    from rich.console import Console

    from moesuite.recommend.advice import recommend
    from moesuite.recommend.report import show

    recommendation = recommend(
        options.model,
        options.budget,
        options.parameters,
        options.records,
        options.alternatives,
        options.length,
        print_progress,
    )
    if options.format == "json":
        print(recommendation.as_json())
    else:
        console = Console(width=None if sys.stdout.isatty() else WIDTH)
        show(recommendation, options.format, console)


def print_progress(line: str) -> None:
    """Print what is being done, on a terminal."""
    if sys.stderr.isatty():
        print(line, file=sys.stderr)


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    run_command(print_recommendation, RecommendOptions, __doc__)


if __name__ == "__main__":
    main()
