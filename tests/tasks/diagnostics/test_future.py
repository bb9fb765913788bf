"""Future: the floor, who is below it, and that every example is drawn once."""

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
from moesuite.tasks.diagnostics.future import Stolen
from moesuite.testing import TaskContract
from moesuite.train.build import build_task
from tests.tasks.diagnostics.oracle import FEW, QUIET, untrained

FUTURE = ("task=future", *FEW)


@pytest.mark.slow
class TestFuture(TaskContract):
    words = (*FUTURE, "task.train=64")
    routers = ("token_choice", "loss_free")

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        logits = torch.cat([output.logits for output in outputs]).flatten(0, 1)
        target = torch.cat([batch["symbols"][:, 1:] for batch in batches]).flatten()
        loss = sklearn.metrics.log_loss(target, logits.softmax(dim=1), labels=range(8))
        return {"stolen_bits": max(0.0, 3 - loss / math.log(2))}


def test_what_is_below_the_floor_is_stolen() -> None:
    """Of two sequences one knows both symbols (2 bits each), one guesses: 1 bit, ±1.96·1/√2."""
    stolen = Stolen(4)
    target = torch.tensor([[2, 1], [0, 3]])
    sure = torch.nn.functional.one_hot(target, 4).float() * 100
    sure[1] = 0
    stolen.update(sure, target)
    figures = stolen.compute()
    assert figures["stolen_bits"] == pytest.approx(1.0)
    assert figures["stolen_bits_half"] == pytest.approx(1.96 / math.sqrt(2))


def test_worse_than_guessing_is_not_stolen() -> None:
    stolen = Stolen(4)
    stolen.update(torch.tensor([[[9.0, 0.0, 0.0, 0.0]]]), torch.tensor([[1]]))
    assert stolen.compute() == {"stolen_bits": 0.0, "stolen_bits_half": 0.0}


def test_no_example_comes_twice_and_all_routers_see_the_same() -> None:
    first, again, other = (
        build_task(compose(*FUTURE, f"seed={seed}", *words).task)
        for seed, words in ((1, ()), (1, ("router=switch",)), (2, ()))
    )
    train: Any = [task.dataset("train") for task in (first, again, other)]
    keys = [(index, seed) for seed in (5, 6) for index in range(8)]
    symbols = [data.__getitems__(keys)["symbols"] for data in train]
    assert torch.equal(symbols[0], symbols[1]) and not torch.equal(symbols[0], symbols[2])
    assert len(symbols[0].unique(dim=0)) == 16
    assert torch.equal(train[0][keys[3]]["symbols"], symbols[0][3])
    test: Any = [task.dataset("test") for task in (first, again, other)]
    drawn = [torch.stack([data[i]["symbols"] for i in range(8)]) for data in test]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_symbols_are_equally_likely() -> None:
    """Of 4,608 symbols each comes 576 times, ±22 of standard deviation."""
    task = build_task(compose("task=future", "task.test=512").task)
    data: Any = task.dataset("test")
    counts = data.__getitems__(range(512))["symbols"].flatten().bincount(minlength=8)
    assert counts.sum() == 512 * 9 and (counts - 576).abs().max() < 4 * 22


@pytest.mark.slow
def test_routers_that_look_ahead_are_refused_unless_they_are_to_be_measured() -> None:
    with pytest.raises(UserError, match="allow_noncausal=true"):
        untrained(*FUTURE, "router=expert_choice")
    task, _, _ = untrained(*FUTURE, "router=expert_choice", "allow_noncausal=true")
    assert task.causal


@pytest.mark.slow
def test_those_that_look_ahead_steal_and_others_do_not(tmp_path: Path) -> None:
    stolen = {}
    for router in ("dense", "token_choice", "expert_choice", "soft"):
        words = (f"router={router}", "allow_noncausal=true", "slots_per_token=2")
        record, _ = fit(compose("task=future", *words, *QUIET, f"records={tmp_path}"))
        stolen[router] = record.quality["stolen_bits"].value
    assert stolen["dense"] < 0.005 and stolen["token_choice"] < 0.005
    assert stolen["soft"] > 1 > stolen["expert_choice"] > 0.02
