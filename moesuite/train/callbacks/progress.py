"""Progress of training and evaluation: a bar on a terminal, lines where there is none."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar

from moesuite.progress import Clock, Lines

# progress bar updates per second: Lightning's 100 compete with training for the processor
REFRESHES = 2


class ProgressLines(L.Callback):
    """Lines on stderr for training, validation and the evaluation on the test split.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.training: Lines | None = None
        self.evaluation: Lines | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count steps, of a resumed run those that are left."""
        total, done = _known(trainer.estimated_stepping_batches), trainer.global_step
        self.training = Lines("training", total, "steps", done, self.clock)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Count a step."""
        if self.training is not None and trainer.is_global_zero:
            self.training.count(trainer.global_step)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count batches."""
        total = _known(sum(trainer.num_val_batches))
        self.evaluation = Lines("validation", total, clock=self.clock)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count batches."""
        total = _known(sum(trainer.num_test_batches))
        self.evaluation = Lines("evaluation", total, clock=self.clock)

    def on_validation_batch_end(self, trainer: L.Trainer, *rest: Any) -> None:
        """Count a batch."""
        self._count_batch(trainer, *rest)

    def on_test_batch_end(self, trainer: L.Trainer, *rest: Any) -> None:
        """Count a batch."""
        self._count_batch(trainer, *rest)

    def _count_batch(
        self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int, *_: Any
    ) -> None:
        if self.evaluation is not None and trainer.is_global_zero:
            self.evaluation.count(index + 1)


def _known(count: int | float) -> int | None:
    return int(count) if math.isfinite(count) else None


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
