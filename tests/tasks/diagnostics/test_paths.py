"""Paths: answers by the square of the adjacency matrix, balance, and that width decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics
import torch

from moesuite import compose, fit
from moesuite.task import Batch, Task
from moesuite.tasks.diagnostics.paths import Graph, has_path
from moesuite.testing import TaskContract
from moesuite.train.build import build_task
from tests.tasks.diagnostics.oracle import FEW, QUIET

PATHS = ("task=paths", *FEW)


@pytest.mark.slow
class TestPaths(TaskContract):
    words = (*PATHS, "task.train=64")
    routers = ("token_choice", "soft")

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        answer = torch.cat([output.logits for output in outputs]).argmax(dim=1)
        right = torch.cat([batch["answer"] for batch in batches])
        return {"accuracy": sklearn.metrics.accuracy_score(right, answer)}


def test_a_path_needs_a_node_between() -> None:
    """Edges 0-1, 1-2 of four nodes: 0 and 2 are joined over 1, no other pair is."""
    edges = torch.tensor([[True, False, False, True, False, False]]).expand(6, 6)
    paths = has_path(edges, torch.arange(6), 4)
    assert paths.tolist() == [False, True, False, False, False, False]


def test_answers_follow_from_the_tokens_and_are_balanced() -> None:
    """An oracle that reads the tokens is always right; 2,000 answers are half, ±0.011."""
    task = build_task(compose("task=paths", "task.test=2000").task)
    data: Any = task.dataset("test")
    batch = data.__getitems__(range(2000))
    ids, pairs, nodes = batch["ids"], 15, 6
    rows, columns = torch.triu_indices(nodes, nodes, 1)
    matrix = torch.zeros(2000, nodes, nodes, dtype=torch.long)
    edge = ids[:, 1:] - 2 * torch.arange(pairs)
    assert set(edge.unique().tolist()) == {0, 1}
    matrix[:, rows, columns] = matrix[:, columns, rows] = edge
    question = ids[:, 0] - 2 * pairs
    squared = (matrix @ matrix)[torch.arange(2000), rows[question], columns[question]]
    assert torch.equal((squared > 0).long(), batch["answer"])
    assert batch["answer"].float().mean().item() == pytest.approx(0.5, abs=0.045)


def test_the_probability_of_an_edge_balances_the_answers() -> None:
    """(1 - p²)^(n - 2) = 1/2: one node between needs p² = 1/2."""
    assert Graph(3).edge_probability == pytest.approx(0.5**0.5)
    assert (1 - Graph(6).edge_probability ** 2) ** 4 == pytest.approx(0.5)


@pytest.mark.slow
def test_width_helps_and_experts_do_not(tmp_path: Path) -> None:
    def accuracy(*words: str) -> float:
        record, _ = fit(compose("task=paths", *words, *QUIET, f"records={tmp_path}"))
        return record.quality["accuracy"].value

    dense = accuracy("router=dense")
    assert accuracy("router=dense", "backbone.kwargs.hidden_size=8") < dense - 0.02
    assert accuracy("router=token_choice") == pytest.approx(dense, abs=0.04)
