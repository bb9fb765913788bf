"""Composition: which pairs are seen, and that experts that are functions solve all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from moesuite import UserError, compose, fit
from moesuite.nn.moe import moe_layers
from moesuite.tasks.diagnostics.world import generator
from moesuite.train.build import build_task, declare_task
from tests.tasks.diagnostics.oracle import FEW, QUIET, give_functions, scores, set_gate, untrained

COMPOSITION = ("task=composition", *FEW)


def test_pairs_of_training_are_seen_and_half_of_the_test_is_of_the_others() -> None:
    task: Any = build_task(compose("task=composition").task)
    train, test = task.dataset("train").columns, task.dataset("test").columns

    def pairs(columns: Any, rows: Any = slice(None)) -> set[tuple[int, int]]:
        first, second = (columns[key][rows].flatten().tolist() for key in ("first", "second"))
        return set(zip(first, second, strict=True))

    seen = {(a, (a + apart) % 8) for a in range(8) for apart in range(4)}
    every = {(a, b) for a in range(8) for b in range(8)}
    assert pairs(train) == seen == pairs(test, ~test["unseen"])
    assert pairs(test, test["unseen"]) == every - seen
    assert test["unseen"].sum() == 128


def test_experts_that_are_functions_reach_the_optimum_of_all_pairs() -> None:
    task, model, batch = untrained(*COMPOSITION, "router=token_choice")
    world: Any = task.world  # type: ignore[attr-defined]
    hidden = world.hidden(generator(world.sampling.world))
    layers = [layer for _, layer in moe_layers(model)]
    for layer, codes, start in zip(layers, (hidden.first, hidden.second), (16, 24), strict=True):
        give_functions(layer, hidden.teachers)
        rows = torch.zeros(8, 32)
        rows[:, start : start + 8] = 100 * codes
        set_gate(layer, rows)
    figures = scores(task, model, batch)
    assert max(figures["excess_loss"], figures["excess_seen"]) < 1e-8
    assert [figures["nmi_first"], figures["nmi_second"]] == pytest.approx([1, 1])
    set_gate(layers[1], rows.flip(0))
    assert scores(task, model, batch)["excess_loss"] > 0.5


def test_a_model_that_adds_nothing_loses_1() -> None:
    task, model, batch = untrained(*COMPOSITION, "router=dense")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    figures = scores(task, model, batch)
    assert figures == pytest.approx({"excess_loss": 1.0, "excess_seen": 1.0})


@pytest.mark.parametrize("words", [["task.width=30"], ["task.seen=8"]])
def test_impossible_pairs_are_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match=r"expected a width .* e\.g\. task\.width=32 "):
        declare_task(compose("task=composition", *words).task).prepare()
    example = ["task.width=32", "task.functions=8", "task.seen=4"]
    declare_task(compose("task=composition", *example).task).prepare()


@pytest.mark.slow
def test_trained_routers_are_told_apart(tmp_path: Path) -> None:
    """The pilot's figures are at the head of tasks/diagnostics/composition.yaml."""
    excess, seen = {}, {}
    for router in ("token_choice", "random", "dense"):
        words = ("task=composition", f"router={router}", *QUIET, f"records={tmp_path}")
        record, _ = fit(compose(*words))
        excess[router] = record.quality["excess_loss"].value
        seen[router] = record.quality["excess_seen"].value
    assert seen["token_choice"] < 0.2 < 0.35 < min(seen["random"], seen["dense"])
    assert excess["token_choice"] < min(excess["random"], excess["dense"])
