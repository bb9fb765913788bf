"""Needles: what the oracle serves and loses, and that dropping distractors costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from moesuite import UserError, compose, fit
from moesuite.nn.stats import masses
from moesuite.tasks.diagnostics.world import generator
from moesuite.train.build import build_task, declare_task
from tests.tasks.diagnostics.oracle import FEW, QUIET, layer_of, scores, set_gate, teach, untrained

NEEDLES = ("task=needles", *FEW)
FAR = ("task.separation=8.0", "task.mark=8.0")  # nothing is in doubt


def test_shares_and_lengths_are_those_of_the_table() -> None:
    """4 kinds: 1/8 needles, 3/16 look-alikes, and 11/16 of 16 - 4 - 1 = 11 backgrounds."""
    task: Any = build_task(compose("task=needles").task)
    shares = task.world.shares
    assert len(shares) == 4 + 4 + 11 and shares.sum() == pytest.approx(1)
    assert shares.tolist() == pytest.approx([1 / 32] * 4 + [3 / 64] * 4 + [1 / 16] * 11)
    centres = task.world.hidden(generator(0)).centres
    assert torch.allclose(centres.norm(dim=1), torch.tensor((4.0**2 + 2.0**2) ** 0.5))
    apart = centres[:4] - centres[4:8]
    assert torch.allclose(apart.norm(dim=1), torch.tensor(4.0))  # twice the mark
    batch = task.dataset("train").columns
    share = (batch["cluster"] < 4).float().mean().item()
    assert share == pytest.approx(1 / 8, abs=0.005)
    assert batch["optimum"][batch["cluster"] >= 8].square().mean() < 5e-3


@pytest.mark.parametrize("slots", [14, 1])
def test_the_oracle_serves_needles_and_loses_those_beyond_its_capacity(slots: int) -> None:
    """19 experts with the gate softmax(centre · x): experts 0 to 3 are the kinds' teachers.

    Expert choice takes the tokens of largest p(kind | x), and weighs them by it: f* itself, where
    14 slots a sequence are enough. One slot, 19 / 64 of the dense work, serves one needle a kind.
    """
    budget = slots * 19 / 64
    words = ("num_experts=19", "router=expert_choice", f"slots_per_token={budget}")
    task, model, batch = untrained(*NEEDLES, *FAR, *words, f"eval_slots_per_token={budget}")
    world: Any = task.world  # type: ignore[attr-defined]
    hidden = world.hidden(generator(world.sampling.world))
    teach(layer_of(model), hidden)
    set_gate(layer_of(model), hidden.centres)
    figures = scores(task, model, batch)
    per_kind = torch.stack([(batch["cluster"] == kind).sum(dim=1) for kind in range(4)])
    share = (per_kind.clamp(max=slots).sum() / per_kind.sum()).item()
    assert (share == 1) == (slots == 14)
    right = served_rightly(model, batch)
    assert right == pytest.approx(share)
    assert figures["excess_loss"] == pytest.approx(1 - share, abs=0.1 * (share < 1) + 1e-6)


def served_rightly(model: Any, batch: Any) -> float:
    """Return the share of needles that the expert of their own kind serves."""
    combined = masses(model)["combined"][-1]
    needles = batch["cluster"] < 4
    weights = combined[needles].gather(1, batch["cluster"][needles][:, None])
    return (weights > 0.5).float().mean().item()


def test_routing_at_random_serves_needles_as_often_as_anything() -> None:
    task, model, batch = untrained(*NEEDLES, "router=random")
    figures = scores(task, model, batch)
    assert figures["needles_served"] == pytest.approx(1 / 4, abs=0.05)
    assert figures["needle_work"] == pytest.approx(1 / 8, abs=0.03)


def test_soft_routing_serves_everything_by_definition() -> None:
    task, model, batch = untrained(*NEEDLES, "router=soft")
    figures = scores(task, model, batch)
    assert figures["needles_served"] == 1
    assert figures["needle_work"] == pytest.approx(1 / 8, abs=0.03)


@pytest.mark.parametrize("words", [["task.clusters=15"], ["task.needles=0.9"]])
def test_a_haystack_without_room_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match=r"expected a width .* e\.g\. task\.clusters=4 "):
        declare_task(compose("task=needles", *words).task).prepare()
    suggestion = ["task.clusters=4", "task.width=16", "task.needles=0.125", "task.lookalikes=0.2"]
    declare_task(compose("task=needles", *suggestion).task).prepare()


@pytest.mark.slow
def test_trained_routers_are_told_apart(tmp_path: Path) -> None:
    """The pilot's figures are at the head of tasks/diagnostics/needles.yaml."""
    excess = {}
    for router in ("expert_choice", "random", "dense"):
        record, _ = fit(compose("task=needles", f"router={router}", *QUIET, f"records={tmp_path}"))
        excess[router] = record.quality["excess_loss"].value
    assert excess["expert_choice"] < 0.6 < min(excess["random"], excess["dense"])
