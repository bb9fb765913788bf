"""The learning curve: quality and routing health against steps, seconds and FLOPs."""

from __future__ import annotations

import time
from collections.abc import Collection
from statistics import fmean
from typing import Any

import lightning as L

from moesuite.nn.stats import Counts, health
from moesuite.records.record import CurvePoint, RoutingHealth
from moesuite.train.module import MoEModule


class Curve(L.Callback):
    """Records quality against steps, training seconds and FLOPs; continues when a run is resumed.

    Args:
        flops_per_step: of the model, for a batch of one process.

    Attributes:
        points: one for each evaluation.
        step, flops: of the optimizer, so far; including those of a dense run that was upcycled, at
            its cost per step.
        seconds: of training, without evaluation.
        waited: seconds of these between the end of a step and the start of the next one: waiting
            for data, and the training loop itself.
    """

    def __init__(self, flops_per_step: float) -> None:
        self.flops_per_step = flops_per_step
        self.step = 0
        self.flops = 0.0
        self.points: list[CurvePoint] = []
        self.seconds = 0.0
        self.waited = 0.0
        self._running_since: float | None = None
        self._step_end: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the curve for the checkpoint."""
        self._update_clock()
        return {
            "seconds": self.seconds,
            "waited": self.waited,
            "step": self.step,
            "flops": self.flops,
            "points": [point.model_dump() for point in self.points],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the curve of a checkpoint."""
        self.seconds = state_dict["seconds"]
        self.waited = state_dict["waited"]
        self.step = state_dict["step"]
        self.flops = state_dict["flops"]
        self.points = [CurvePoint(**point) for point in state_dict["points"]]

    def _update_clock(self) -> None:
        """Add the time since the last update, if training is running."""
        if self._running_since is not None:
            now = time.perf_counter()
            self.seconds += now - self._running_since
            self._running_since = now

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._running_since = time.perf_counter()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add the time since the end of the last step."""
        if self._step_end is not None:
            self.waited += time.perf_counter() - self._step_end

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the step, if the optimizer made one, and start to wait."""
        self.flops += (trainer.global_step - self.step) * self.flops_per_step * trainer.world_size
        self.step = trainer.global_step
        self._step_end = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock: evaluation is not training."""
        self._update_clock()
        self._running_since = None
        self._step_end = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add a point and start the clock."""
        assert isinstance(pl_module, MoEModule)
        if trainer.sanity_checking:
            return
        point = CurvePoint(
            step=trainer.global_step,
            seconds=self.seconds,
            flops=self.flops,
            loss=pl_module.last_loss,
            quality=pl_module.results[pl_module.task.primary.name],
            **_health(pl_module.counts.values()),
        )
        self.points.append(point)
        self._running_since = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self._update_clock()
        self._running_since = None


def _health(counts: Collection[Counts]) -> dict[str, Any]:
    """Return the figures of routing health that a point of the curve declares, over all MoE layers.

    Counts, such as dead experts, add up; shares are averaged.
    """
    if not counts:
        return {}
    layers = [health(of_layer) for of_layer in counts]
    figures: dict[str, float] = {}
    for name in CurvePoint.model_fields.keys() & RoutingHealth.model_fields.keys():
        values = [getattr(layer, name) for layer in layers]
        figures[name] = sum(values) if isinstance(values[0], int) else fmean(values)
    return figures
