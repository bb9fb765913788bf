"""Test classes to inherit: the conformance suites of routers and tasks, for packages too.

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
from typing import Any, ClassVar, Literal

import pytest
import torch

from moesuite.certify.certificate import causal_routers, measure
from moesuite.certify.harness import Subject, output
from moesuite.certify.harness import small_mlp as small_mlp
from moesuite.certify.properties import PROPERTIES, Property
from moesuite.config.compose import compose
from moesuite.discovery.names import router_names
from moesuite.models.forward import call
from moesuite.nn.dispatch import apply_experts, reference
from moesuite.routing.router import LayerSpec, Router
from moesuite.task import Batch, Task
from moesuite.train.build import build_models, build_task
from moesuite.train.dataloaders import eval_loader
from moesuite.train.fit import fit

SPLITS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


class RouterContract:
    """The contract of routers: every check of `moesuite.certify`, and what the engine relies on.

    A router need not keep what it does not claim: `causal`, `bounded`, `batch_coupled`,
    `negative_weights`.

    Attributes:
        router: the class under test.
        options: keyword arguments beside the spec.
    """

    router: type[Router]
    options: dict[str, Any] = {}
    _subject: ClassVar[Subject]

    def build(self, spec: LayerSpec, **extra: Any) -> Router:
        """Return the router under test."""
        return self.router(spec, **{**self.options, **extra})

    @property
    def subject(self) -> Subject:
        """The router in a small layer, shared by all tests: checks share observations."""
        contract = type(self)
        if "_subject" not in vars(contract):
            contract._subject = Subject(self.build)
        return contract._subject

    @pytest.mark.parametrize("prop", PROPERTIES, ids=lambda prop: prop.name)
    def test_keeps_what_its_certificate_claims(self, prop: Property) -> None:
        check = measure(prop, self.subject)
        assert not check.false, prop.sentence(check)

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
            subject = Subject(
                lambda spec, **_: self.build(spec, k=spec.num_experts), slots_per_token=4.0
            )
            assert torch.isfinite(output(subject.layer(), subject.inputs(), training=True)).all()

    def test_gates_of_all_experts_are_those_of_its_weights(self) -> None:
        layer, x = self.subject.layer(), self.subject.inputs()
        mask = torch.arange(x.shape[1]).expand(x.shape[:2]) < 20
        routing = layer.eval().router(x, mask)
        gates = getattr(routing, "gates", None)
        assert (gates is not None) is self.router.dense_gates
        if gates is not None:
            weights = routing.token_weights()
            torch.testing.assert_close(gates * (weights != 0), weights)
            assert gates[~mask].abs().sum() == 0


class TaskContract:
    """The contract of tasks.

    Attributes:
        words: overrides that select the task, a small backbone, and no augmentation of single
            examples, so that the contents of splits can be compared.
        routers: routers to run; None: all that the task allows.
    """

    words: Sequence[str]
    routers: Sequence[str] | None = None

    def expected(
        self, task: Task, outputs: Sequence[Any], batches: Sequence[Batch]
    ) -> dict[str, float]:
        """Return metrics of the outputs, the primary one included, computed by a library."""
        raise NotImplementedError("return metrics computed by a library, e.g. scikit-learn")

    def legal(self) -> list[str]:
        """Return the routers that the task allows."""
        task = self.build()
        return causal_routers() if task.causal or task.causal_decoder else router_names()

    def build(self) -> Task:
        """Return the task with its data."""
        return build_task(compose(*self.words).task)

    def contents(self, task: Task, split: Literal["train", "val", "test"]) -> list[bytes]:
        """Return hashes of the scored examples of a split."""
        dataset: Any = task.dataset(split)
        samples = [dataset[index] for index in range(len(dataset))] if dataset is not None else []
        scored = [
            sample for sample in samples if split == "train" or task.scored(task.collate([sample]))
        ]
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

    def score(
        self, router: str, at_once: int | None = None
    ) -> tuple[Task, list[Any], list[Batch], dict[str, float]]:
        """Return the task, and outputs, batches and metrics of an untrained model.

        Args:
            router: its name.
            at_once: examples per batch; None: as configured.
        """
        task, config = self.build(), compose(*self.words, f"router={router}")
        data = config.data
        if at_once is not None:
            data = data.model_copy(update={"eval_batch_size": at_once})
        batches = list(eval_loader(task, data, "test"))
        model = build_models(config, task, task.inputs(batches[0])).model.eval()
        metrics = task.metrics()
        with torch.no_grad():
            outputs = [call(model, task.inputs(batch)) for batch in batches]
        for output_of_batch, batch in zip(outputs, batches, strict=True):
            task.update(metrics, output_of_batch, batch)
        values = {name: float(value) for name, value in metrics.compute().items()}
        return task, outputs, batches, values

    def test_results_depend_neither_on_padding_nor_on_the_batch(self) -> None:
        routers = self.routers or self.legal()  # measuring which routers are causal takes seconds
        router = next(
            name for name in ("expert_choice", "token_choice", *routers) if name in routers
        )
        few, many = (self.score(router, at_once)[-1] for at_once in (3, 32))
        assert few.keys() == many.keys()
        for name, value in few.items():
            assert value == pytest.approx(many[name], rel=1e-4, abs=1e-6), name

    def test_metrics_are_those_of_a_library(self) -> None:
        task, outputs, batches, metrics = self.score("dense")
        expected = self.expected(task, outputs, batches)
        assert task.primary.name in expected
        for name, value in expected.items():
            assert metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name

    def test_every_router_runs_an_epoch_of_32_examples(self, tmp_path: Path) -> None:
        words = [
            *self.words,
            "data.batch_size=8",
            "trainer.max_epochs=1",
            "trainer.limit_train_batches=4",
        ]
        words += [
            "trainer.enable_progress_bar=false",
            "trainer.limit_val_batches=0",
            "logger=none",
            "measure=false",
        ]
        for router in self.routers or self.legal():
            record, _ = fit(compose(*words, f"router={router}", f"records={tmp_path}"))
            assert record.status == "ok" and record.steps == 4, router
            assert math.isfinite(record.quality[record.primary].value), router
