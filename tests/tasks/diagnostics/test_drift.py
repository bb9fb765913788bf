"""Drift: shares before and after, figures of each, and what the shift costs an oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from moesuite import compose, fit
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

DRIFT = ("task=drift", *FEW)


def counted(batch: Any, rows: Any) -> list[float]:
    clusters = batch["cluster"][rows].flatten()
    return (clusters.bincount(minlength=8) / len(clusters)).tolist()


def test_half_of_the_test_sequences_have_the_reverse_sizes() -> None:
    """Zipf's law of 8: 1, 1/2, ... 1/8 over their sum, 2.718."""
    task: Any = build_task(compose("task=drift").task)
    zipf = [1 / rank / 2.717857 for rank in range(1, 9)]
    train, test = task.dataset("train").columns, task.dataset("test").columns
    assert not train["shifted"].any() and test["shifted"].sum() == 128
    assert counted(train, slice(None)) == pytest.approx(zipf, abs=0.01)
    assert counted(test, ~test["shifted"]) == pytest.approx(zipf, abs=0.02)
    assert counted(test, test["shifted"]) == pytest.approx(zipf[::-1], abs=0.02)


def test_half_a_shift_is_halfway() -> None:
    task: Any = build_task(compose(*DRIFT, "task.shift=0.5", "task.clusters=2").task)
    assert task.world.mixture.shifted.tolist() == pytest.approx([0.5, 0.5])


def test_the_oracle_loses_nothing_to_the_shift_but_what_capacity_takes() -> None:
    """Of each mixture, tokens beyond 64 / 8 = 8 of a cluster in a sequence find no slot."""
    words = (*DRIFT, "task.separation=8.0", "router=token_choice")
    task, model, batch = untrained(*words)
    hidden = hidden_clusters(task.world)  # type: ignore[attr-defined]
    teach(layer_of(model), hidden)
    set_gate(layer_of(model), 100 * hidden.centres)
    figures = scores(task, model, batch)
    assert max(figures["excess_loss"], figures["excess_before"]) < 1e-6
    assert figures["unserved"] == figures["unserved_before"] == 0
    layer_of(model).router.limited = True
    limited = scores(task, model, batch)
    for name, rows in (("unserved", batch["shifted"]), ("unserved_before", ~batch["shifted"])):
        loads = (batch["cluster"][rows][..., None] == torch.arange(8)).sum(dim=1)
        assert limited[name] == pytest.approx((loads - 8).clamp(min=0).sum() / (64 * len(loads)))
    assert limited["excess_loss"] == pytest.approx(limited["unserved"], abs=0.05)


@pytest.mark.slow
def test_trained_routers_are_told_apart(tmp_path: Path) -> None:
    """The pilot's figures are at the head of tasks/diagnostics/drift.yaml."""
    excess = {}
    for router in ("token_choice", "expert_choice", "random", "dense"):
        record, _ = fit(compose("task=drift", f"router={router}", *QUIET, f"records={tmp_path}"))
        excess[router] = record.quality["excess_loss"].value
        assert record.quality["excess_before"].value < excess[router]
        if router == "token_choice":
            limited = record.limited_quality
            assert limited["unserved"].value > limited["unserved_before"].value > 0.1
    assert excess["token_choice"] < 0.3 < excess["expert_choice"] < 0.75
    assert min(excess["random"], excess["dense"]) > 0.8
