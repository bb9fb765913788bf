"""The checkpoint of the end of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L


class EndOfTraining(L.Callback):
    """Saves the end of training, where Lightning's last checkpoint is of an earlier validation.

    Args:
        checkpoint: where to save.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._saved_step = -1

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the step."""
        self._saved_step = trainer.global_step

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, unless the last step is saved."""
        if self._saved_step != trainer.global_step:
            trainer.save_checkpoint(self.checkpoint)
