"""Every family keeps the contract of tasks, and so does one from outside of the package."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error
from torchmetrics.text import Perplexity

from moesuite import compose
from moesuite.discovery.names import task_files
from moesuite.task import Batch, Task
from moesuite.testing import TaskContract
from moesuite.train.build import declare_task
from tests.tasks.glue import understanding_folder
from tests.tasks.local_data import (
    BYTES,
    FEW,
    TINY_BERT,
    TINY_VIT,
    parquet,
    search_folder,
    sentences,
)


class Images(TaskContract):
    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        logits, labels = torch.cat(list(outputs)), torch.cat([batch["label"] for batch in batches])
        shares = logits.softmax(dim=1)
        classes = range(logits.shape[1])
        return {
            "top1": sklearn.metrics.accuracy_score(labels, logits.argmax(dim=1)),
            "top5": sklearn.metrics.top_k_accuracy_score(labels, logits, k=5, labels=classes),
            "calibration_error": multiclass_calibration_error(
                shares, labels, logits.shape[1]
            ).item(),
        }


class TestDigits(Images):
    words = ("task=digits", *TINY_VIT)
    routers = ("expert_choice", "soft", "switch")


class Text(TaskContract):
    words = ("task=stdlib", f"task.source={argparse.__file__}", "task.length=96", "task.stride=96")

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        metric = Perplexity(ignore_index=-100)
        for output, batch in zip(outputs, batches, strict=True):
            metric.update(output.logits, batch["labels"])
        perplexity = metric.compute().item()
        return (
            {"perplexity": perplexity, "bits_per_byte": np.log2(perplexity)}
            if task.causal
            else {"perplexity": perplexity}
        )


class TestCausalText(Text):
    words = (
        *Text.words,
        "backbone.kwargs.n_embd=32",
        "backbone.kwargs.n_layer=2",
        "backbone.kwargs.n_head=2",
    )
    routers = ("switch",)


class TestMaskedText(Text):
    words = (*Text.words, *TINY_BERT, "task.objective=masked")
    routers = FEW


class Pairs(TaskContract):
    def vectors(
        self, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool by hand: the mean over real tokens, of the first texts and of the second ones."""
        sides: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for output, batch in zip(outputs, batches, strict=True):
            rows = [
                state[mask.bool()].mean(dim=0)
                for state, mask in zip(
                    output.last_hidden_state, batch["attention_mask"], strict=True
                )
            ]
            sides[0].extend(rows[: len(batch["target"])])
            sides[1].extend(rows[-len(batch["target"]) :])
        first, second = (F.normalize(torch.stack(side), dim=1) for side in sides)
        return first, second


class TestSearch(Pairs):
    routers = FEW

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        source = search_folder(tmp_path_factory.mktemp("search"))
        self.words = ("task=stdlib_search", f"task.source={source}", *TINY_BERT, *BYTES)

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        first, second = self.vectors(outputs, batches)
        similarity = (first @ second.T).numpy()
        return {"ndcg@10": sklearn.metrics.ndcg_score(np.eye(len(first)), similarity, k=10)}


class TestSimilarity(Pairs):
    routers = FEW

    @pytest.fixture(autouse=True)
    def folder(self, real_data: Path) -> None:
        source = [f"task.source={real_data / 'sts'}", "task.names=[STSBenchmark]"]
        self.words = ("task=sts", *source, *TINY_BERT, *BYTES)

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        first, second = self.vectors(outputs, batches)
        scores = torch.cat([batch["target"] for batch in batches])
        return {"spearman": spearmanr((first * second).sum(dim=1), scores).statistic}


class TestProbe(Pairs):
    routers = FEW

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("labelled")
        labels = [number % 3 for number in range(60)]
        train, test = ({"text": sentences(60, start), "label": labels} for start in (0, 100))
        parquet(folder / "TREC", train=train, test=test)
        self.words = (
            "task=text_classification",
            f"task.source={folder}",
            "task.names=[TREC]",
            *TINY_BERT,
            *BYTES,
        )

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        x, _ = self.vectors(outputs, batches)
        y, scored = (
            torch.cat([batch[key] for batch in batches]).numpy() for key in ("target", "scored")
        )
        model = sklearn.linear_model.LogisticRegression(max_iter=1000).fit(
            x[~scored].double(), y[~scored]
        )
        return {
            "accuracy": sklearn.metrics.accuracy_score(y[scored], model.predict(x[scored].double()))
        }


@pytest.mark.slow
class TestProbeOnRealQuestions(TestProbe):
    """TREC repeats some of its training questions in its test split."""

    @pytest.fixture(autouse=True)
    def folder(self, real_data: Path) -> None:
        source = [f"task.source={real_data / 'classification'}", "task.names=[TREC]"]
        self.words = ("task=text_classification", *source, *TINY_BERT, *BYTES)


class TestUnderstanding(TaskContract):
    routers = FEW

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        source = understanding_folder(tmp_path_factory.mktemp("glue"), "glue", "mrpc", 40)
        self.words = ("task=glue", "task.subset=mrpc", f"task.source={source}", *TINY_BERT, *BYTES)

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        given = torch.cat([output.logits.argmax(dim=1) for output in outputs])
        right = torch.cat([batch["answer"] for batch in batches])
        accuracy, f1 = (
            sklearn.metrics.accuracy_score(right, given),
            sklearn.metrics.f1_score(right, given),
        )
        return {"accuracy": accuracy, "f1": f1, "score": (accuracy + f1) / 2}


class EveryRouter:
    """Epochs of all routers, and nothing else.

    The rest of the contract is kept by the class with a few of them.
    """

    routers = None
    test_splits_and_fingerprint_are_always_the_same = None
    test_no_example_of_the_test_split_is_trained_on = None
    test_results_depend_neither_on_padding_nor_on_the_batch = None
    test_metrics_are_those_of_a_library = None


@pytest.mark.slow
class TestImagesByEveryRouter(EveryRouter, TestDigits):
    pass


@pytest.mark.slow
class TestCausalTextByEveryRouter(EveryRouter, TestCausalText):
    pass


@pytest.mark.slow
class TestMaskedTextByEveryRouter(EveryRouter, TestMaskedText):
    pass


@pytest.mark.slow
class TestSearchByEveryRouter(EveryRouter, TestSearch):
    pass


@pytest.mark.slow
class TestUnderstandingByEveryRouter(EveryRouter, TestUnderstanding):
    pass


def test_every_yaml_declares_a_task_of_at_most_20_lines() -> None:
    for name, path in task_files().items():
        assert path.read_text(encoding="utf-8").count("\n") <= 20, name
        assert declare_task(compose(f"task={name}").task).name in (
            name,
            f"{name}_rte",
        )  # of a benchmark, a set of it
