"""Loggers by name, and which remarks of Lightning's reach the console."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from moesuite.config.schema import RunConfig
from moesuite.errors import UserError, unknown


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
            raise UserError(f"logger={name} needs a package that is not installed; type pip install {name}") from None
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
