"""The LightningModule of every run: a task, a model and their objective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from moesuite.config.schema import RunConfig
from moesuite.errors import RunFailed
from moesuite.models.forward import call, placed
from moesuite.nn.moe import contexts, moe_layers, unread_losses
from moesuite.nn.stats import (
    Counts,
    RoutingWeights,
    count_layer,
    is_finite,
    masses,
    routing_weights,
)
from moesuite.surgery.checkpoint import KEY, contents
from moesuite.task import Batch, Task
from moesuite.train.optim import build_optimizer
from moesuite.train.results.predictions import Predictions

UNLIMITED = 2**62  # steps of a run that only time limits; its schedule does not depend on them


class MoEModule(L.LightningModule):
    """Trains `model` on `task`: task loss plus all auxiliary losses of its routers.

    Args:
        task, model, config: of the run.
        folder: for files of the task family.

    Attributes:
        results: metrics of the last evaluation by name.
        examples: examples of the last evaluation.
        counts: routing counts of the last evaluation by layer.
        predictions: collects those of the next evaluation, unless it is None.
        last_loss: of the last training step.
    """

    def __init__(self, task: Task, model: nn.Module, config: RunConfig, folder: Path) -> None:
        super().__init__()
        self.task = task
        self.model = model
        self.config = config
        self.folder = folder
        self.val_metrics = task.metrics()
        self.test_metrics = task.metrics()
        self.results: dict[str, float] = {}
        self.counts: dict[str, Counts] = {}
        self.examples = 0
        self.predictions: Predictions | None = None
        self.last_loss = math.nan
        self._check_every = 1
        self._log_every = 1
        # once: walking the modules would slow down small steps
        self._contexts = contexts(model)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW and its schedule, which advances with every optimizer step."""
        steps = min(self.trainer.estimated_stepping_batches, UNLIMITED)
        # Lightning rejects gradient clipping of a fused step under autocast
        fused = "mixed" not in str(self.trainer.precision)
        optimizer, schedule = build_optimizer(self.model, self.config.optim, int(steps), fused)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Check the loss at every step on a CPU; on a GPU, where that waits, when logging."""
        self._log_every = max(1, getattr(self.trainer, "log_every_n_steps", 1))
        self._check_every = 1 if self.device.type == "cpu" else self._log_every

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to the checkpoint how to build the model, for `moesuite.load_moe`."""
        checkpoint[KEY] = contents(self.model)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Return the objective, or None if no example of the batch could be decoded."""
        torch.default_generator.manual_seed(self._seed(self.config.seed, batch_idx))
        if self.device.type == "cuda":  # torch.cuda itself takes 0.3 ms without a GPU
            torch.cuda.manual_seed_all(self._seed(self.config.seed, batch_idx))
        batch = self.task.augment(batch, self._seed(self.config.data.seed, batch_idx))
        inputs = self.task.inputs(batch)
        if self.task.size(batch) == 0:
            return None
        loss = self.task.loss(call(self.model, inputs), batch)
        auxiliary = unread_losses(self._contexts)
        for value in auxiliary.values():
            loss = loss + value
        if (self.global_step + 1) % self._check_every == 0:
            self._check(loss)
        if (self.global_step + 1) % self._log_every == 0:
            self._log_step(auxiliary)
        return loss

    def _seed(self, base: int, batch_idx: int) -> int:
        """Combine a seed with epoch and batch.

        A resumed run, and a run with another router, draw the same random numbers.
        """
        return ((base * 1_000_003 + self.current_epoch) * 1_000_003 + batch_idx) % (2**31 - 1)

    def _check(self, loss: Tensor) -> None:
        self.last_loss = loss.item()
        if not math.isfinite(self.last_loss):
            raise RunFailed(
                f"the loss is {self.last_loss} at step {self.global_step}{self._culprit()}; "
                f"expected a finite number; type e.g. optim.lr={self.config.optim.lr / 10:g}, "
                "or optim.clip=1.0"
            )

    def _culprit(self) -> str:
        """Name the first layer whose router's logits are not finite."""
        for name, layer in moe_layers(self.model):
            if layer.routing is not None and not is_finite(layer.routing):
                return f": the router of {name} has logits that are not finite"
        return ""

    def _log_step(self, auxiliary: Mapping[str, Tensor]) -> None:
        values = {f"train/{name}_loss": value.detach() for name, value in auxiliary.items()}
        self.log_dict({"train/loss": self.last_loss, **values})
        counts = [count_layer(layer) for _, layer in moe_layers(self.model) if layer.routing]
        if counts:
            dropped = [layer.unserved / layer.tokens.clamp(min=1) for layer in counts]
            self.log("dropped_under_capacity", torch.stack(dropped).mean(), prog_bar=True)

    def on_validation_epoch_start(self) -> None:
        """Reset metrics and counts."""
        self._begin(self.val_metrics)

    def on_test_epoch_start(self) -> None:
        """Reset metrics and counts."""
        self._begin(self.test_metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate a batch."""
        self._evaluate(batch, self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate a batch."""
        self._evaluate(batch, self.test_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics; show the primary one in the progress bar."""
        if self.trainer.sanity_checking:  # of two batches, maybe without a scored example
            return
        self._finish(self.val_metrics)
        for name, value in self.results.items():
            self.log(f"val/{name}", value, prog_bar=name == self.task.primary.name)

    def on_test_epoch_end(self) -> None:
        """Keep the metrics in `results`."""
        if not self._score_whole():
            self._finish(self.test_metrics)

    def _begin(self, metrics: Any) -> None:
        metrics.reset()
        self.counts, self.examples = {}, 0

    def _evaluate(self, batch: Batch, metrics: Any) -> None:
        inputs = self.task.inputs(batch)
        if self.task.size(batch):
            output = self._predict(inputs)
            observes = self.task.observes_routing and self.counts
            seen = {**batch, **masses(self.model)} if observes else batch
            self.task.update(metrics, output, seen)
            self.examples += self.task.scored(batch)
            if self.predictions is not None:
                self.predictions.add(output, batch)

    def _predict(self, inputs: Any) -> Any:
        """Count the routing; return the output, or the routing weights if the task reads them."""
        output = call(self.model, inputs)
        for name, layer in moe_layers(self.model):
            counts = count_layer(layer)
            self.counts[name] = self.counts[name] + counts if name in self.counts else counts
        return RoutingWeights(routing_weights(self.model)) if self.task.reads_routing else output

    def predict(self, batch: Batch) -> Any:
        """Return the output for a batch on any device, in the precision of the trainer."""
        batch = placed(batch, self.device)
        self.examples += self.task.size(batch)
        with self.trainer.precision_plugin.forward_context():
            return self._predict(self.task.inputs(batch))

    def _score_whole(self) -> bool:
        """Let the task score the whole model; return False if it scores batches instead."""
        of_batches = self.examples, self.counts
        self.examples, self.counts = 0, {}
        results = self.task.whole(self.predict, self.folder)
        if results is None:
            self.examples, self.counts = of_batches
            return False
        self.results = results
        return True

    def _finish(self, metrics: Any) -> None:
        if self.examples == 0:
            raise RunFailed(
                "the evaluation has no readable example; expected at least one; see the test split"
            )
        self.results = {name: float(value) for name, value in metrics.compute().items()}
        if self.trainer.world_size > 1:
            self.examples = int(self._sum(torch.tensor(self.examples)))
            self.counts = {
                layer: counts.map(lambda _, value: self._sum(value))
                for layer, counts in self.counts.items()
            }

    def _sum(self, value: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(value.to(self.device), reduce_op="sum")
