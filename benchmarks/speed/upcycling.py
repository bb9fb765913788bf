"""Upcycling a model of 300 M parameters, against copying the bytes of its experts.

    python -m moesuite.benchmarks.speed.upcycling experts=8 model=vit_large_patch16_224 rounds=5

In turns, on a fresh copy of the model each time: `moefy` (every other MLP), the same with its
receipt (`upcycle`), and clones of every expert's weights and of all weights of the result. Memory
is the peak beyond the finished model, in copies of the MLP of one layer.
"""

from __future__ import annotations

import copy
import itertools
import statistics
from collections.abc import Callable, Sequence
from functools import partial

import timm
from pydantic import Field
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from moesuite.compute.memory import keep_freed_memory
from moesuite.compute.timing import peak_of, seconds_of
from moesuite.config.cli import Options, run_command
from moesuite.nn.moe import moe_layers
from moesuite.surgery.moefy import moefy
from moesuite.surgery.upcycle import upcycle

CLONES = ("clone of the experts", "clone of the result")


def measure(dense: nn.Module, num_experts: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way by name; an extra first round allocates the memory."""
    seconds: dict[str, list[float]] = {
        "moefy": [],
        "upcycle, with receipt": [],
        **{name: [] for name in CLONES},
    }
    for _ in range(rounds + 1):
        for name, build in ways(num_experts).items():
            model = copy.deepcopy(dense)
            seconds[name].append(seconds_of(partial(build, model)))
        layers = (layer.experts.parameters() for _, layer in moe_layers(model))
        experts = list(itertools.chain.from_iterable(layers))
        for name, weights in zip(CLONES, (experts, list(model.parameters())), strict=True):
            seconds[name].append(seconds_of(partial(_clone, weights)))
    return {name: samples[1:] for name, samples in seconds.items()}


def ways(num_experts: int) -> dict[str, Callable[[nn.Module], object]]:
    """Return the ways to turn a model into an MoE, by name."""
    return {
        "moefy": partial(
            moefy,
            router="expert_choice",
            num_experts=num_experts,
            layers="every_other",
            slots_per_token=2.0,
        ),
        "upcycle, with receipt": partial(upcycle, num_experts=num_experts),
    }


def _clone(weights: Sequence[Tensor]) -> list[Tensor]:
    return [weight.clone() for weight in weights]


def extra_copies(build: Callable[[], nn.Module], num_experts: int) -> float:
    """Return the peak memory of `moefy` beyond the finished model, in MLPs of one layer."""
    models: list[nn.Module] = []

    def build_and_moefy() -> None:
        # builds the model too: memory that was allocated before would count negative when freed
        models.append(build())
        ways(num_experts)["moefy"](models[0])

    peak = peak_of(build_and_moefy)
    layer = next(layer for _, layer in moe_layers(models[0]))
    return (peak - _bytes(models[0])) / (_bytes(layer.experts) / num_experts)


def _bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


class UpcyclingOptions(Options):
    """Options of the command."""

    experts: int = Field(8, ge=1, description="number of experts")
    model: str = Field("vit_large_patch16_224", description="model of timm")
    rounds: int = Field(5, ge=1, description="measurements of each kind")


def run(options: UpcyclingOptions) -> None:
    """Measure and print a table."""
    keep_freed_memory()
    dense, num_experts = timm.create_model(options.model), options.experts
    seconds = measure(dense, num_experts, options.rounds)
    size = sum(parameter.numel() for parameter in dense.parameters()) / 1e6
    table = Table(
        "",
        "seconds",
        "over the clone",
        title=f"{options.model}, {size:.0f} M parameters, E={num_experts}",
    )
    base = statistics.median(seconds[CLONES[0]])
    for name, samples in seconds.items():
        table.add_row(
            name, f"{statistics.median(samples):.2f}", f"{statistics.median(samples) / base:.2f}"
        )
    Console().print(table)
    extra = extra_copies(partial(timm.create_model, options.model), num_experts)
    print(f"memory beyond the result: {extra:.2f} copies of one layer's MLP")


if __name__ == "__main__":
    run_command(run, UpcyclingOptions, __doc__)
