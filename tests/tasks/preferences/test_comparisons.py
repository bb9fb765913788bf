"""Comparison training: losses and measures by hand, consistency by construction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesuite import compose, fit
from moesuite.models.plain.perceptron import Perceptron
from moesuite.records.store import read_record
from moesuite.task import Batch, Task
from moesuite.tasks.preferences.agreement import Agreement, Answers, answers, cycles
from moesuite.tasks.preferences.choices import Choice, Choices, training_loss
from moesuite.testing import TaskContract
from tests.conftest import Command
from tests.tasks.preferences.words import QUICK, SMALL

NONE = torch.zeros(0, 2, dtype=torch.long)


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def test_losses_by_hand() -> None:
    """Two choices: expert's scores (3, 1, 2) and (0, 1), the network's (0, 1, 2) and (4, 4)."""
    ours, theirs = torch.tensor([0.0, 1, 2, 4, 4]), torch.tensor([3.0, 1, 2, 0, 1])
    pairs = [
        softplus(1),
        softplus(2),
        softplus(-1),
        softplus(0),
    ]  # 0 > 1, 0 > 2, 2 > 1 of the first; 1 > 0
    assert training_loss("comparison", "pairs", ours, theirs, [3, 2], NONE).item() == pytest.approx(
        sum(pairs) / 4
    )
    chosen = [pairs[0], pairs[1], pairs[3]]
    assert training_loss(
        "comparison", "chosen", ours, theirs, [3, 2], NONE
    ).item() == pytest.approx(sum(chosen) / 3)
    listed = (math.log(1 + math.e + math.e**2) + math.log(2)) / 2
    assert training_loss(
        "comparison", "listwise", ours, theirs, [3, 2], NONE
    ).item() == pytest.approx(listed)
    squares = (9 + 0 + 0 + 16 + 9) / 5
    assert training_loss(
        "relative_score", "pairs", ours, theirs, [3, 2], NONE
    ).item() == pytest.approx(squares)
    asked, logits = (
        torch.tensor([[0, 1], [2, 0]]),
        torch.tensor([1.0, 1.0]),
    )  # 0 > 1 is right, 2 > 0 is wrong
    free = training_loss("comparison_free", "pairs", logits, theirs, [3, 2], asked).item()
    assert free == pytest.approx((softplus(-1) + softplus(1)) / 2)


@pytest.mark.parametrize(
    ("head", "loss"),
    [("comparison", "pairs"), ("comparison", "chosen"), ("comparison_free", "pairs")],
)
def test_a_batch_of_equals_teaches_nothing(head: Any, loss: Any) -> None:
    ours = torch.tensor([1.0, 2.0], requires_grad=True)
    given = ours if head == "comparison" else ours[:0]
    found = training_loss(head, loss, given, torch.tensor([0.5, 0.5]), [2], NONE)
    found.backward()
    assert found.item() == 0 and ours.grad is not None and not ours.grad.any()


@given(st.integers(3, 7), st.integers(0, 1000))
def test_intransitive_triples_are_counted(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    beats = torch.zeros(n, n, dtype=torch.long)
    for a, b in itertools.combinations(range(n), 2):
        beats[(a, b) if random.random() < 0.5 else (b, a)] = 1
    found = sum(
        int(beats[a, b] + beats[b, c] + beats[c, a] in (0, 3))
        for a, b, c in itertools.combinations(range(n), 3)
    )
    assert cycles(beats) == (found, math.comb(n, 3))


def measured(*found: tuple[Answers, list[float]]) -> dict[str, float]:
    metric = Agreement()
    metric.update([one for one, _ in found], [torch.tensor(scores) for _, scores in found])
    return {name: float(value) for name, value in metric.compute().items()}


def test_measures_by_hand() -> None:
    """Scores (1, 2, 0) against the expert's (0.5, 0.2, 0.1): the second is chosen, 0.3 lost.

    2 of 3 pairs are right.
    """
    (scored,) = answers("comparison", torch.tensor([1.0, 2.0, 0.0]), [3])
    found = measured((scored, [0.5, 0.2, 0.1]))
    assert found == pytest.approx(
        {"top1": 0, "pairs": 2 / 3, "score_loss": 0.3, "intransitive": 0, "order_dependent": 0}
    )
    # 0 beats 1 beats 2 beats 0, and the answer to (0, 1) is "the first" in both orders:
    # permutations in their order
    logits = torch.tensor([1.0, -3.0, 1.0, 1.0, 3.0, -1.0])  # 01 02 10 12 20 21
    (free,) = answers("comparison_free", logits, [3])
    assert free.logits.tolist() == [[0, 1, -3], [1, 0, 1], [3, -1, 0]]
    found = measured((free, [0.5, 0.2, 0.1]))
    assert found["intransitive"] == 1 and found["order_dependent"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("head", ["comparison", "comparison_free"])
def test_one_network_for_both_is_consistent_by_construction_and_two_inputs_are_not(
    head: Any,
) -> None:
    """Random networks of both kinds on random inputs."""
    torch.manual_seed(0)
    free = head == "comparison_free"
    model = Perceptron("tanh", 5, 4 * (1 + free), [8])
    for weights in model.parameters():
        weights.data.mul_(10)
    rows = torch.randint(0, 5, (12, 4))
    pairs = torch.tensor(list(itertools.permutations(range(12), 2)))
    given = rows[pairs].flatten(1) if free else rows
    with torch.no_grad():
        (found,) = answers(head, model(given).logits.squeeze(1), [12])
    result = measured((found, torch.rand(12).tolist()))
    inconsistent = (result["intransitive"] > 0, result["order_dependent"] > 0)
    assert inconsistent == ((True, True) if free else (False, False))
    if not free:
        assert torch.allclose(found.logits.sigmoid() + found.logits.T.sigmoid(), torch.ones(12, 12))


def test_alternatives_shown_in_training() -> None:
    choice = Choice(
        [np.full(2, i) for i in range(6)], np.array([0, 5, 1, 2, 3, 4], dtype=np.float32)
    )
    for seed in range(20):
        shown = Choices([choice], 3, "")[(0, seed)]
        assert len(shown.scores) == 3 and shown.scores.max() == 5 and not shown.pairs
        assert [int(row[0]) for row in shown.rows] == sorted(int(row[0]) for row in shown.rows)
    chosen = Choices([choice], 4, "chosen")[(0, 1)]
    best = int(chosen.scores.argmax())
    assert len(chosen.pairs) == 3 and all(best in pair for pair in chosen.pairs)
    turned = {Choices([choice], 2, "pairs")[(0, seed)].pairs[0] for seed in range(20)}
    assert turned == {(0, 1), (1, 0)}
    assert len(Choices([choice], None, "all")[0].pairs) == 30


class TestBackgammon(TaskContract):
    words = SMALL
    routers = ("usmoe",)  # all of them run on other tasks

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        right, loss, count = 0, 0.0, 0
        for output, batch in zip(outputs, batches, strict=True):
            parts = zip(
                np.split(output.logits[:, 0].numpy(), np.cumsum(batch["sizes"])[:-1]),
                np.split(batch["scores"].numpy(), np.cumsum(batch["sizes"])[:-1]),
                strict=True,
            )
            for ours, theirs in parts:
                right, count = right + (theirs[ours.argmax()] == theirs.max()), count + 1
                loss += float(theirs.max() - theirs[ours.argmax()])
        return {
            "top1": right / count,
            "score_loss": loss / count,
            "intransitive": 0.0,
            "order_dependent": 0.0,
        }


@pytest.mark.parametrize(
    "words",
    [
        ["task.head=relative_score"],
        pytest.param(
            [
                "task.loss=listwise",
                "backbone=gpt_mini",
                "backbone.kwargs={n_embd:16,n_layer:2,n_head:2}",
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["task.head=comparison_free", "task.loss=chosen", "backbone=tesauro", "router=dense"],
            marks=pytest.mark.slow,
        ),
        ["backbone=tesauro", "router=dense", "task.play=[random]", "task.games=4"],
    ],
)
def test_every_head_trains(words: list[str], tmp_path: Path) -> None:
    own = SMALL[:4] if any(word.startswith("backbone=") for word in words) else SMALL
    record, _ = fit(compose(*own, *QUICK, f"records={tmp_path}", *words))
    assert record.status == "ok" and 0 <= record.quality["top1"].value <= 1
    if "task.games=4" in words:
        assert (
            record.quality["points_random"].n == 4
            and record.quality["points_random_half"].direction == "min"
        )


@pytest.mark.slow
def test_a_small_network_that_compares_beats_pubeval(command: Command, tmp_path: Path) -> None:
    """The README's command, on fewer positions and steps.

    0.50 is pubeval's own agreement with 2-ply.
    """
    words = [
        "task=backgammon",
        "backbone=tesauro",
        "router=dense",
        "backbone.kwargs.hidden=[250]",
        "backbone.model=mlp:relu",
        "task.play=[pubeval]",
    ]
    done = command(
        "moesuite.run",
        *words,
        "task.positions=10000",
        "task.test_positions=100",
        "trainer.max_epochs=8",
        *QUICK[:3],
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("runs/backgammon/dense/*.json")
    found = {name: quality.value for name, quality in read_record(path).quality.items()}
    assert found["top1"] > 0.5 and found["points_pubeval"] > found["points_pubeval_half"], found
    assert found["intransitive"] == found["order_dependent"] == 0


@pytest.mark.slow
def test_backgammon_is_measured(command: Command) -> None:
    done = command(
        "moesuite.benchmarks.speed.backgammon", "positions=50", "test_positions=2", "games=8"
    )
    assert done.returncode == 0, done.stderr
    assert [line.rsplit(": ", 1)[0] for line in done.stdout.splitlines()] == [
        "50 positions, made and judged at 0-ply",
        "2 positions, judged at 2-ply by one process",
        "8 games of perceptron against pubeval",
        "8 games of BERT against pubeval",
    ]
