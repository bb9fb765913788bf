"""Test classes to inherit: one conformance suite for every router and every task, a stranger's too.

from moesuite.testing import RouterContract, TaskContract
from my_file import MyRouter

class TestMyRouter(RouterContract):
    router = MyRouter

class TestMyTask(TaskContract):
    words = ("--config-dir=conf", "task=my_task")

    def expected(self, task, outputs, batches):
        return {"top1": sklearn.metrics.accuracy_score(...)}
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from moesuite import certificate
from moesuite.build import build_models, build_task
from moesuite.composition import compose
from moesuite.dispatch import apply_experts, reference
from moesuite.loading import eval_loader
from moesuite.moe import call
from moesuite.plugins import router_names
from moesuite.router import LayerSpec, Router
from moesuite.subject import Subject, output
from moesuite.subject import small_mlp as small_mlp
from moesuite.task import Batch, Task
from moesuite.train import fit

SPLITS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


class RouterContract:
    """What every router has to keep: the certificate's checks as tests, and what the engine relies on.

    Attributes:
        router: the class under test.
        options: keyword arguments beside the spec.
        within_budget: whether training never exceeds the budget; set to False for a router that says so.
    """

    router: type[Router]
    options: dict[str, Any] = {}
    within_budget: bool = True

    def build(self, spec: LayerSpec, **extra: Any) -> Router:
        """Return the router under test."""
        return self.router(spec, **{**self.options, **extra})

    @property
    def subject(self) -> Subject:
        """The router in a small layer."""
        return Subject(self.build)

    def holds(self, check: certificate.Check) -> None:
        """Assert that a check holds, or does not arise."""
        assert check.holds is not False, check

    def test_is_deterministic_in_evaluation(self) -> None:
        self.holds(certificate.deterministic(self.subject))

    def test_does_not_depend_on_the_rest_of_the_batch(self) -> None:
        self.holds(certificate.batch_independent(self.subject))

    def test_does_not_depend_on_padding(self) -> None:
        self.holds(certificate.padding_invariant(self.subject))

    def test_is_causal_exactly_if_it_claims_so(self) -> None:
        claim = self.subject.layer().router.causal
        found = certificate.causal(self.subject)
        assert not claim or found.holds, f"claims to be causal, but outputs depend on later tokens: {found}"

    def test_every_parameter_gets_gradient(self) -> None:
        self.holds(certificate.gradients(self.subject)[2])

    def test_stays_within_its_budget_in_training(self) -> None:
        if self.within_budget:
            self.holds(certificate.capacity_enforced(self.subject))

    @pytest.mark.parametrize("training", [False, True])
    def test_padding_is_never_routed_and_losses_do_not_see_it(self, training: bool) -> None:
        layer, x = self.subject.layer().train(training), self.subject.inputs()
        padded = torch.cat([x, torch.full((len(x), 5, x.shape[-1]), 7.0)], dim=1)
        mask = torch.arange(padded.shape[1]).expand(len(x), -1) < x.shape[1]
        routing = layer.router(padded, mask)
        for tensor in routing.dense():
            assert not tensor[:, x.shape[1] :].any()
        if not certificate.is_random(self.subject):
            for name, loss in layer.router(x).losses.items():
                torch.testing.assert_close(routing.losses[name], loss, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("training", [False, True])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_fast_path_equals_the_dense_tensors(self, training: bool, dtype: torch.dtype) -> None:
        layer = self.subject.layer().train(training)
        x = self.subject.inputs().to(dtype).requires_grad_()
        experts = layer.experts.to(dtype)
        for parameter in experts.parameters():
            parameter.data.mul_(0.3)  # outputs near 1: bfloat16 has 8 bits
        routing = layer.router(x.detach().float())
        inputs, both = [x, *experts.parameters()], []
        for path in (apply_experts, reference):
            y = path(x, routing, experts)
            gradients = torch.autograd.grad(y.float().square().mean(), inputs, retain_graph=True)
            both.append([y, *gradients])
        for fast, slow in zip(*both, strict=True):
            scale = slow.float().abs().max().item() + 1e-6
            tolerance = (1e-4 if dtype == torch.float32 else 5e-2) * scale
            torch.testing.assert_close(fast.float(), slow.float(), rtol=0, atol=tolerance)

    def test_survives_extreme_logits_and_groups_of_padding(self) -> None:
        layer, x = self.subject.layer(), self.subject.inputs()
        mask = torch.ones(x.shape[:2], dtype=torch.bool)
        mask[0] = False
        for training in (False, True):
            for scale in (1e4, -1e4):
                assert torch.isfinite(output(layer, x * scale, training, mask)).all()

    @pytest.mark.parametrize("training", [False, True])
    def test_one_expert_one_token_and_more_experts_than_tokens(self, training: bool) -> None:
        for num_experts, tokens in ((1, 24), (4, 1), (27, 24)):
            subject = Subject(self.build, num_experts, tokens=tokens)
            y = output(subject.layer(), subject.inputs(), training)
            assert y.shape == (subject.groups, tokens, subject.dim) and torch.isfinite(y).all()

    def test_as_many_experts_per_token_as_experts(self) -> None:
        if "k" in inspect.signature(inspect.unwrap(self.router.__init__)).parameters:
            subject = Subject(lambda spec, **_: self.build(spec, k=spec.num_experts), slots_per_token=4.0)
            assert torch.isfinite(output(subject.layer(), subject.inputs(), training=True)).all()


class TaskContract:
    """What every task has to keep.

    Attributes:
        words: that choose the task on the command line, with a small backbone, and with augmentation of single
            examples switched off, so that what splits hold can be compared.
        routers: to run; None: all that the task allows.
    """

    words: Sequence[str]
    routers: Sequence[str] | None = None

    def expected(self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]) -> dict[str, float]:
        """Return metrics of a model's outputs by a library, the primary one among them."""
        raise NotImplementedError("give the metrics by a library, for example scikit-learn")

    def legal(self) -> list[str]:
        """Return the routers that the task allows."""
        task = self.build()
        return certificate.causal_routers() if task.causal or task.causal_decoder else router_names()

    def build(self) -> Task:
        """Return the task, loaded."""
        return build_task(compose(*self.words).task)

    def contents(self, task: Task, split: Literal["train", "val", "test"]) -> list[bytes]:
        """Return the hashes of the examples of a split that are scored."""
        dataset: Any = task.dataset(split)
        samples = [dataset[index] for index in range(len(dataset))] if dataset is not None else []
        scored = [sample for sample in samples if split == "train" or task.scored(task.collate([sample]))]
        return [hashlib.sha256(task.content(sample)).digest() for sample in scored]

    def test_splits_and_fingerprint_are_always_the_same(self) -> None:
        first, second = self.build(), self.build()
        assert first.fingerprint and first.fingerprint == second.fingerprint
        for split in SPLITS:
            assert self.contents(first, split) == self.contents(second, split)

    def test_no_example_of_the_test_split_is_trained_on(self) -> None:
        task = self.build()
        train, test = (set(self.contents(task, split)) for split in ("train", "test"))
        assert train and test and not train & test

    def score(self, router: str, at_once: int | None = None) -> tuple[Task, list[Any], list[Batch], dict[str, float]]:
        """Return the task, and outputs, batches and metrics of an untrained model, with so many examples in a batch."""
        task, config = self.build(), compose(*self.words, f"router={router}")
        data = config.data if at_once is None else config.data.model_copy(update={"eval_batch_size": at_once})
        batches = list(eval_loader(task, data, "test"))
        model = build_models(config, task, task.inputs(batches[0])).model.eval()
        metrics = task.metrics()
        with torch.no_grad():
            outputs = [call(model, task.inputs(batch)) for batch in batches]
        for given, batch in zip(outputs, batches, strict=True):
            task.update(metrics, given, batch)
        return task, outputs, batches, {name: float(value) for name, value in metrics.compute().items()}

    def test_results_depend_neither_on_padding_nor_on_the_batch(self) -> None:
        routers = self.routers or self.legal()  # which routers are causal takes seconds to measure
        router = next(name for name in ("expert_choice", "token_choice", *routers) if name in routers)
        few, many = (self.score(router, at_once)[-1] for at_once in (3, 32))
        assert few.keys() == many.keys()
        for name, value in few.items():
            assert value == pytest.approx(many[name], rel=1e-4, abs=1e-6), name

    def test_metrics_are_those_of_a_library(self) -> None:
        task, outputs, batches, found = self.score("dense")
        expected = self.expected(task, outputs, batches)
        assert task.primary.name in expected
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name

    def test_every_router_runs_an_epoch_of_32_examples(self, tmp_path: Path) -> None:
        words = [*self.words, "data.batch_size=8", "trainer.max_epochs=1", "trainer.limit_train_batches=4"]
        words += ["trainer.enable_progress_bar=false", "trainer.limit_val_batches=0", "logger=none", "measure=false"]
        for router in self.routers or self.legal():
            record, _ = fit(compose(*words, f"router={router}", f"records={tmp_path}"))
            assert record.status == "ok" and record.steps == 4, router
            assert math.isfinite(record.quality[record.primary].value), router
