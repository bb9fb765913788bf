"""Lightning's trainer of a run, and its loggers by name."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from moesuite.config.schema import RunConfig
from moesuite.errors import UserError, unknown
from moesuite.records.store import RunFiles
from moesuite.train.callbacks import ProgressBar


def build_trainer(config: RunConfig, files: RunFiles, callbacks: Sequence[L.Callback]) -> L.Trainer:
    """Return the trainer; what `trainer.<option>` leaves open is as the task's recipe and the optimizer say.

    Args:
        config: of the run.
        files: where those of the run are.
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
        more.append(
            ModelCheckpoint(files.folder, files.checkpoint.stem, enable_version_counter=False)
        )
    options |= {"callbacks": more, "logger": build_loggers(config, files.folder)}
    try:
        return L.Trainer(**options, use_distributed_sampler=False)
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise UserError(
            f"trainer: {str(error).splitlines()[0]}; see trainer.<option> in --help"
        ) from None


def build_loggers(config: RunConfig, folder: Path) -> list[Any]:
    """Build the loggers that are asked for; files go beside the checkpoints of the run.

    Raises:
        UserError: for an unknown logger, or one whose package is not installed.
    """
    from lightning.pytorch import loggers

    local = {"save_dir": str(folder), "name": "", "version": ""}
    kinds = {
        "csv": (loggers.CSVLogger, local),
        "tensorboard": (loggers.TensorBoardLogger, local),
        "wandb": (loggers.WandbLogger, {"save_dir": str(folder)}),
        "mlflow": (loggers.MLFlowLogger, {}),
    }
    built = []
    for name, options in config.logger.items():
        if name not in kinds:
            raise unknown("logger", name, kinds, "logger=csv")
        cls, defaults = kinds[name]
        try:
            built.append(cls(**{**defaults, **options}))
        except ModuleNotFoundError:
            raise UserError(
                f"logger={name} needs a package that is not installed; type pip install {name}"
            ) from None
    return built


def quiet() -> None:
    """Keep Lightning's remarks about the machine out of the console; warnings of substance stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for remark in (
        ".*does not have many workers.*",
        ".*number of training batches.*",
        ".*exists and is not empty.*",
        ".*LeafSpec.*",
        ".*sync_dist.*",
        ".*`srun` command is available.*",  # launcher=submitit is how we go there
    ):
        warnings.filterwarnings("ignore", remark)
