"""Memory: information by hand, an oracle of one unit for each fact, and experts that hold more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics
import torch

from moesuite import UserError, compose, fit
from moesuite.task import Batch, Task
from moesuite.tasks.diagnostics.memory import Recall
from moesuite.testing import TaskContract
from moesuite.train.build import build_task
from tests.tasks.diagnostics.oracle import QUIET, scores, untrained

SMALL = ("task=memory", "task.facts=64", "task.train=32", "task.val=4", "task.test=8")


@pytest.mark.slow
class TestMemory(TaskContract):
    words = (*SMALL, "task.length=16")
    routers = ("token_choice", "soft")

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        logits = torch.cat(list(outputs)).flatten(0, 1)
        value = torch.cat([batch["value"] for batch in batches]).flatten()
        loss = sklearn.metrics.log_loss(value, logits.softmax(dim=1), labels=range(32))
        stored = max(0.0, 1 - loss / math.log(32))
        recalled = sklearn.metrics.accuracy_score(value, logits.argmax(dim=1))
        return {"stored": stored, "stored_bits": 64 * 5 * stored, "recalled": recalled}


def test_half_sure_of_one_in_four_is_half_of_the_two_bits() -> None:
    """p = 1/2, 1/6, 1/6, 1/6: log2 4 - log2 2 = 1 of 2 bits; ten facts hold 20."""
    recall = Recall(10, 4)
    recall.update(torch.tensor([[[3.0, 1.0, 1.0, 1.0]]]).log(), torch.tensor([[0]]))
    assert {name: float(value) for name, value in recall.compute().items()} == pytest.approx(
        {"stored": 0.5, "stored_bits": 10.0, "recalled": 1.0}
    )


def test_guesses_store_nothing_and_errors_no_less() -> None:
    for logits in (torch.zeros(1, 1, 4), torch.tensor([[[0.0, 9.0, 0.0, 0.0]]])):
        recall = Recall(10, 4)
        recall.update(logits, torch.tensor([[2]]))
        assert recall.compute()["stored"] == 0


def test_a_unit_for_each_fact_knows_all_of_them() -> None:
    """Keys are nearly orthogonal in 256 dimensions: each opens its own unit alone."""
    words = ("task.width=256", "backbone.kwargs.hidden=64", "router=dense")
    task, model, batch = untrained(*SMALL, "task.length=16", *words)
    assert scores(task, model, batch)["stored"] < 0.1
    fact, first = batch["fact"].flatten().unique(return_inverse=True)[0], {}
    for row, number in enumerate(batch["fact"].flatten().tolist()):
        first.setdefault(number, row)
    rows = torch.tensor([first[number] for number in fact.tolist()])
    keys, values = batch["tokens"].flatten(0, 1)[rows], batch["value"].flatten()[rows]
    layer: Any = model.layers[0]  # type: ignore[index]
    with torch.no_grad():
        layer.fc1.weight.copy_(keys / keys.square().sum(dim=1, keepdim=True))
        layer.fc1.bias.fill_(-0.5)
        layer.fc2.weight.copy_(100 * torch.nn.functional.one_hot(values, 256).float().T)
        layer.fc2.bias.zero_()
    figures = scores(task, model, batch)
    assert figures["stored"] == pytest.approx(1, abs=1e-4) and figures["recalled"] == 1
    assert figures["stored_bits"] == pytest.approx(64 * 8, rel=1e-4)


def test_the_same_facts_are_trained_and_tested_in_other_groups() -> None:
    task, _, _ = untrained(*SMALL, "task.length=16")
    of_role: Any = {role: task.dataset(role).columns for role in ("train", "test")}  # type: ignore
    assert set(range(64)) == {*of_role["train"]["fact"].flatten().tolist()}
    assert set(range(64)) == {*of_role["test"]["fact"].flatten().tolist()}
    assert not torch.equal(of_role["train"]["fact"][:8], of_role["test"]["fact"])
    value = dict[int, int]()
    for columns in of_role.values():
        pairs = zip(
            columns["fact"].flatten().tolist(), columns["value"].flatten().tolist(), strict=True
        )
        assert all(value.setdefault(fact, each) == each for fact, each in pairs)


@pytest.mark.slow
def test_experts_hold_more_at_equal_flops(tmp_path: Path) -> None:
    def stored(*words: str) -> float:
        record, _ = fit(compose("task=memory", *words, *QUIET, f"records={tmp_path}"))
        return record.quality["stored"].value

    few, many = (stored("router=token_choice", f"num_experts={count}") for count in (2, 8))
    assert stored("router=dense") < few < many
    assert stored("router=random") < few


def test_one_possible_value_is_nothing_to_remember() -> None:
    with pytest.raises(UserError, match=r"task\.width=1: expected at least 2"):
        build_task(compose("task=memory", "task.width=1").task)
