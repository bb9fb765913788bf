"""What happens beside training: the learning curve, Ctrl-C, and what the progress bar shows."""

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
REFRESHES = (
    2  # of the progress bar, in a second: Lightning's 100 compete with training for the processor
)


class Curve(L.Callback):
    """Keeps quality against steps, training seconds (without evaluation) and FLOPs; goes on when a run is resumed.

    Attributes:
        points: after each evaluation.
        step, flops: of the optimizer, so far; those of a dense run that was upcycled, at its cost a
            step, among them.
        seconds: of training.
        waited: seconds of these between a step's end and the next one's begin: for data, and for
            the loop itself.
    """

    def __init__(self, flops_per_step: float) -> None:
        self.flops_per_step = flops_per_step
        self.step, self.flops = 0, 0.0
        self.points: list[CurvePoint] = []
        self.seconds = self.waited = 0.0
        self._since: float | None = None
        self._step_end: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the curve for the checkpoint."""
        self._tick()
        points = [point.model_dump() for point in self.points]
        figures = {
            "seconds": self.seconds,
            "waited": self.waited,
            "step": self.step,
            "flops": self.flops,
        }
        return {**figures, "points": points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the curve of the checkpoint."""
        self.seconds, self.waited = state_dict["seconds"], state_dict["waited"]
        self.step, self.flops = state_dict["step"], state_dict["flops"]
        self.points = [CurvePoint(**point) for point in state_dict["points"]]

    def _tick(self) -> None:
        """Add the time since the last tick, if training is running."""
        if self._since is not None:
            now = time.perf_counter()
            self.seconds, self._since = self.seconds + now - self._since, now

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._since = time.perf_counter()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count what passed since the last step."""
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
        """Count the step, if the optimizer made one, and begin to wait."""
        self.flops += (trainer.global_step - self.step) * self.flops_per_step * trainer.world_size
        self.step = trainer.global_step
        self._step_end = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock: evaluation is not training."""
        self._tick()
        self._since = self._step_end = None

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
        self._since = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self._tick()
        self._since = None


class Watched(L.Callback):
    """Shows each evaluation to whoever follows the run, and may stop it by raising `Pruned`."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show step and quality."""
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
    """Turns the first Ctrl-C into a stop after the running step, with a checkpoint; a second one stops at once."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._asked = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._asked = True
        print("\nCtrl-C: stopping after this step; once more stops at once", file=sys.stderr)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop between two steps, where the state of the run is whole."""
        if self._asked:
            if trainer.checkpoint_callback is not None:
                trainer.save_checkpoint(self.checkpoint)
            raise KeyboardInterrupt

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop listening."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)


class ProgressBar(RichProgressBar):
    """Lightning's Rich bar with the step time, beside quality and the share of tokens that capacity drops."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=REFRESHES, leave=False)
        self._begun = (0, 0.0)
        self._shown: dict[str, Any] = {}
        self._shown_at = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._begun = (trainer.global_step, time.perf_counter())

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """Return what stands beside the bar, new as often as the bar is drawn: every step would slow small steps."""
        if time.perf_counter() - self._shown_at < 1 / REFRESHES:
            return self._shown
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        steps = trainer.global_step - self._begun[0]
        if steps > 0:
            metrics["step_ms"] = f"{1000 * (time.perf_counter() - self._begun[1]) / steps:.1f}"
        self._shown, self._shown_at = metrics, time.perf_counter()
        return metrics

    def _get_train_description(self, current_epoch: int) -> str:
        """Name the epoch; Lightning's own text counts to -2 where a run is limited by steps."""
        last = self.trainer.max_epochs
        return f"Epoch {current_epoch + 1}" + (f"/{last}" if last is not None and last > 0 else "")
