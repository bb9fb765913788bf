"""Callbacks: learning curve, pruning, interruption by Ctrl-C, progress bar."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from statistics import fmean
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar

from moesuite.nn.stats import Counts, health
from moesuite.records.record import CurvePoint, RoutingHealth
from moesuite.train.module import MoEModule

Watch = Callable[[int, float], None]  # step, quality
# progress bar updates per second: Lightning's 100 compete with training for the processor
REFRESHES = 2


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


class Watched(L.Callback):
    """Reports each evaluation to `watch`, which may stop the run by raising `Pruned`."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report step and quality."""
        assert isinstance(pl_module, MoEModule)
        if not trainer.sanity_checking:
            self.watch(trainer.global_step, pl_module.results[pl_module.task.primary.name])


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


class Interruption(L.Callback):
    """Stops after the current step on Ctrl-C and saves a checkpoint; a second Ctrl-C stops at once.

    Args:
        checkpoint: where to save.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._requested = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Install the signal handler."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._request_stop)

    def _request_stop(self, number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._requested = True
        print("\nCtrl-C: stopping after this step; press again to stop at once", file=sys.stderr)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop between two steps, where the state of the run is consistent."""
        if self._requested:
            if trainer.checkpoint_callback is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise KeyboardInterrupt

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore the default signal handler."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)


class ProgressBar(RichProgressBar):
    """Lightning's Rich bar with step time, quality and the share of tokens dropped by capacity."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=REFRESHES, leave=False)
        self._start = (0, 0.0)  # step, time
        self._metrics: dict[str, Any] = {}
        self._updated_at = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._start = (trainer.global_step, time.perf_counter())

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Return the metrics beside the bar, computed only as often as it is drawn.

        At every step they would slow down small steps.
        """
        if time.perf_counter() - self._updated_at < 1 / REFRESHES:
            return self._metrics
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        first_step, started_at = self._start
        steps = trainer.global_step - first_step
        if steps > 0:
            metrics["step_ms"] = f"{1000 * (time.perf_counter() - started_at) / steps:.1f}"
        self._metrics = metrics
        self._updated_at = time.perf_counter()
        return metrics

    def _get_train_description(self, current_epoch: int) -> str:
        """Return the epoch; Lightning's own text counts to -2 in a run limited by steps."""
        last = self.trainer.max_epochs
        total = f"/{last}" if last is not None and last > 0 else ""
        return f"Epoch {current_epoch + 1}{total}"
