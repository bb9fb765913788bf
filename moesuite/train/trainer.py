"""Lightning's trainer of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from moesuite.config.schema import RunConfig
from moesuite.errors import UserError
from moesuite.train.callbacks import ProgressBar
from moesuite.train.loggers import build_loggers


def build_trainer(config: RunConfig, folder: Path, callbacks: Sequence[L.Callback]) -> L.Trainer:
    """Return the trainer; what `trainer.<option>` leaves open is as the task's recipe and the optimizer say.

    Args:
        config: of the run.
        folder: of the run's files.
        callbacks: beside the progress bar and checkpoints.

    Raises:
        UserError: for options that Lightning refuses.
    """
    options, more = dict(config.trainer), list(callbacks)
    if options["max_epochs"] is None:
        limited = options["max_steps"] != -1 or options["max_time"] is not None
        options["max_epochs"] = -1 if limited else config.task.get("recipe", {}).get("epochs", 10)
    if options["gradient_clip_val"] is None and config.optim.clip > 0:
        options["gradient_clip_val"] = config.optim.clip
    options["enable_model_summary"] = bool(options["enable_model_summary"])  # off unless asked for
    if options["enable_progress_bar"] is not False:
        more.append(ProgressBar())
    if options["enable_checkpointing"] is not False:
        more.append(ModelCheckpoint(folder, "last", enable_version_counter=False))
    options |= {"callbacks": more, "logger": build_loggers(config, folder)}
    try:
        return L.Trainer(**options, use_distributed_sampler=False)
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise UserError(f"trainer: {str(error).splitlines()[0]}; see trainer.<option> in --help") from None
