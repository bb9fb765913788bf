"""What stops a run before its end: Ctrl-C, and whoever watches its quality."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L

from moesuite.train.module import MoEModule

Watch = Callable[[int, float], None]  # step, quality


class Watched(L.Callback):
    """Reports each evaluation to `watch`, which may stop the run by raising `Pruned`."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report step and quality."""
        assert isinstance(pl_module, MoEModule)
        if not trainer.sanity_checking:
            self.watch(trainer.global_step, pl_module.results[pl_module.task.primary.name])


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
