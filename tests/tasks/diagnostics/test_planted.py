"""Planted experts: the optimum as derived, reached by the oracle, and by no model that has none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics
import torch

from moesuite import compose, fit
from moesuite.task import Batch, Task
from moesuite.tasks.diagnostics.planted import Mixture, Teachers
from moesuite.tasks.diagnostics.world import generator
from moesuite.testing import TaskContract
from moesuite.train.build import build_task
from tests.tasks.diagnostics.oracle import (
    FEW,
    QUIET,
    hidden_clusters,
    layer_of,
    scores,
    set_gate,
    teach,
    untrained,
)

PLANTED = ("task=planted_experts", *FEW)


class TestPlanted(TaskContract):
    words = (*PLANTED, "task.train=32", "task.length=16")
    routers = ("token_choice", "soft")

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        output = torch.cat(list(outputs)).flatten()
        optimum = torch.cat([batch["optimum"] for batch in batches]).flatten()
        error = sklearn.metrics.mean_squared_error(optimum, output)
        return {"excess_loss": error / sklearn.metrics.mean_squared_error(optimum, 0 * output)}


def test_teachers_have_mean_0_and_mean_square_1() -> None:
    teachers = Teachers.draw(3, 16, 8, generator(0))
    z = torch.randn(200_000, 16, generator=generator(1))
    for number in range(3):
        y = teachers(number, z)
        assert y.mean(dim=0).abs().max() < 0.02
        assert y.square().mean() == pytest.approx(1, abs=0.02)


def test_shares_follow_zipfs_law() -> None:
    """1, 1/2, 1/3 over their sum, 11/6."""
    assert Mixture(clusters=3, imbalance=1.0).shares.tolist() == pytest.approx(
        [6 / 11, 3 / 11, 2 / 11]
    )
    assert Mixture(clusters=4).shares.tolist() == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("clusters", [8, 5])
def test_the_optimum_is_a_mixture_of_the_teachers_by_a_linear_gate(clusters: int) -> None:
    """Centres have one length, so that p(m | x) is the softmax of c_m · x; they overlap here."""
    words = [f"task.clusters={clusters}", f"num_experts={clusters}", "task.separation=1.5"]
    every = [f"router.k={clusters}", f"slots_per_token={clusters}"]
    task, model, batch = untrained(*PLANTED, *words, "router=token_choice", *every)
    hidden = hidden_clusters(task.world)
    teach(layer_of(model), hidden)
    set_gate(layer_of(model), hidden.centres)
    assert scores(task, model, batch)["excess_loss"] < 1e-8
    set_gate(layer_of(model), hidden.centres.flip(0))
    assert scores(task, model, batch)["excess_loss"] > 1


def test_the_optimum_beats_the_teachers_where_clusters_overlap() -> None:
    """Its squared error to the targets is the least of these, and the noise's where they do not."""
    errors = {}
    for separation in (1.5, 20.0):
        task = build_task(compose(*PLANTED, "task.test=256", f"task.separation={separation}").task)
        batch = task.dataset("test").columns  # type: ignore[union-attr]
        for name in ("optimum", "target"):
            likely = batch[name] if name == "optimum" else nearest(task, batch["tokens"])
            errors[name, separation] = (batch["target"] - likely).square().mean().item()
    assert errors["optimum", 1.5] < errors["target", 1.5]
    assert errors["optimum", 20.0] == pytest.approx(0.1**2, rel=0.02)
    assert errors["target", 20.0] == pytest.approx(0.1**2, rel=0.02)


def nearest(task: Any, x: torch.Tensor) -> torch.Tensor:
    """Return what the teacher of the nearest centre says."""
    hidden = hidden_clusters(task.world)
    best = (x @ hidden.centres.T).argmax(dim=-1)
    y = torch.zeros_like(x)
    for number, centre in enumerate(hidden.centres):
        y[best == number] = hidden.teachers(number, x[best == number] - centre)
    return y


def test_the_oracle_router_reaches_the_optimum_and_its_routing_is_the_clusters() -> None:
    task, model, batch = untrained(*PLANTED, "task.separation=8.0", "router=token_choice")
    hidden = hidden_clusters(task.world)
    teach(layer_of(model), hidden)
    set_gate(layer_of(model), 100 * hidden.centres)
    figures = scores(task, model, batch)
    assert figures["excess_loss"] < 1e-6
    assert figures["nmi"] == pytest.approx(1) and figures["ari"] == pytest.approx(1)
    assert len(batch["cluster"].unique()) == 8


@pytest.mark.parametrize("router", ["random", "dense"])
def test_routing_that_knows_nothing_agrees_with_nothing(router: str) -> None:
    """Of a dense model there is no such figure; teachers at random places are no optimum."""
    task, model, batch = untrained(*PLANTED, f"router={router}")
    if router == "dense":
        figures = scores(task, model, batch)
        assert figures.keys() == {"excess_loss"}
        return
    teach(layer_of(model), hidden_clusters(task.world))
    figures = scores(task, model, batch)
    assert figures["excess_loss"] > 1 / 8 and figures["nmi"] < 0.05 and abs(figures["ari"]) < 0.05


def test_a_seed_is_a_world_and_all_worlds_share_a_board() -> None:
    def task_of(*words: str) -> Any:
        return build_task(compose(*PLANTED, *words).task)

    first, same, other = task_of("seed=3"), task_of("seed=3", "router=soft"), task_of("seed=4")
    tokens = [task.dataset("test").columns["tokens"] for task in (first, same, other)]
    assert torch.equal(tokens[0], tokens[1]) and not torch.equal(tokens[0], tokens[2])
    assert first.fingerprint == same.fingerprint == other.fingerprint
    assert first.fingerprint != task_of("task.noise=0.2").fingerprint
    named = task_of("seed=9", "task.world=3")
    assert torch.equal(named.dataset("test").columns["tokens"], tokens[0])


@pytest.mark.slow
def test_trained_routers_are_told_apart(tmp_path: Path) -> None:
    """The pilot's figures are at the head of tasks/diagnostics/planted_experts.yaml."""
    excess = {}
    for router in ("token_choice", "random", "dense"):
        record, _ = fit(
            compose("task=planted_experts", f"router={router}", *QUIET, f"records={tmp_path}")
        )
        excess[router] = record.quality["excess_loss"].value
        assert ("nmi" in record.quality) == (router != "dense")
    assert excess["token_choice"] < 0.1
    assert all(math.isfinite(excess[router]) for router in excess)
    assert min(excess["random"], excess["dense"]) > 3 * excess["token_choice"]
