"""Lightning's Trainer for a run, and its loggers by name."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console
from torch.utils.data import IterableDataset

from moesuite.config.schema import RunConfig
from moesuite.config.sections import Data
from moesuite.errors import UserError, unknown
from moesuite.records.store import RunFiles
from moesuite.task import Task
from moesuite.train.callbacks.checkpoint import EndOfTraining
from moesuite.train.callbacks.progress import ProgressBar, ProgressLines


def build_trainer(config: RunConfig, files: RunFiles, callbacks: Sequence[L.Callback]) -> L.Trainer:
    """Return the trainer; the task's recipe and `optim` set what `trainer.<option>` leaves open.

    Args:
        config: of the run.
        files: paths of the run.
        callbacks: in addition to progress and checkpoints.

    Raises:
        UserError: for options that Lightning rejects.
    """
    options = dict(config.trainer)
    all_callbacks = list(callbacks)
    if options["max_epochs"] is None:
        limited = options["max_steps"] != -1 or options["max_time"] is not None
        options["max_epochs"] = -1 if limited else config.task.get("recipe", {}).get("epochs", 10)
    if options["gradient_clip_val"] is None and config.optim.clip > 0:
        options["gradient_clip_val"] = config.optim.clip
    options["enable_model_summary"] = bool(options["enable_model_summary"])  # off by default
    if options["enable_progress_bar"] is not False:
        all_callbacks.append(ProgressBar() if Console().is_terminal else ProgressLines())
    options["enable_progress_bar"] = any(isinstance(each, ProgressBar) for each in all_callbacks)
    if options["enable_checkpointing"] is not False:
        all_callbacks += [
            ModelCheckpoint(files.folder, files.checkpoint.stem, enable_version_counter=False),
            EndOfTraining(files.checkpoint),
        ]
    options |= {"callbacks": all_callbacks, "logger": build_loggers(config, files.folder)}
    try:
        return L.Trainer(**options, use_distributed_sampler=False)
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise UserError(
            f"trainer: {str(error).splitlines()[0]}; see trainer.<option> in --help"
        ) from None


def refuse_endless(options: Mapping[str, Any], task: Task) -> None:
    """Raise `UserError` for streamed data without a number of steps."""
    streamed = isinstance(task.dataset("train"), IterableDataset)
    if streamed and options["max_steps"] == -1:
        raise UserError(
            f"{task.name}: streamed data has no known length; expected a number of steps, "
            "e.g. trainer.max_steps=10000"
        )


def total_steps(trainer: L.Trainer, task: Task, data: Data) -> int:
    """Return the number of optimizer steps of a run; -1 if only time limits it.

    Raises:
        UserError: if there is nothing to train on, or an evaluation is due after an epoch's end.
    """
    if trainer.max_epochs == 0:
        return 0
    dataset = task.dataset("train")
    if dataset is None:
        raise UserError(
            f"{task.name}: no training split; type trainer.max_epochs=0 to evaluate only"
        )
    if isinstance(dataset, IterableDataset) or trainer.max_epochs in (None, -1):
        return trainer.max_steps
    examples = len(dataset) // trainer.world_size  # type: ignore[arg-type] # of each process
    batches = max(1, examples // data.batch_size)  # the last, smaller one is dropped
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    interval, epochs = trainer.val_check_interval, trainer.check_val_every_n_epoch
    if isinstance(interval, int) and interval > batches and epochs is not None:
        raise UserError(
            f"trainer.val_check_interval={interval}: an epoch has {batches} batches; expected at "
            "most as many; type trainer.check_val_every_n_epoch=null to count them over epochs"
        )
    steps = math.ceil(batches / trainer.accumulate_grad_batches) * trainer.max_epochs
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)


def build_loggers(config: RunConfig, folder: Path) -> list[Any]:
    """Build the configured loggers; their files go beside the checkpoints of the run.

    Raises:
        UserError: for an unknown logger, or one whose package is not installed.
    """
    from lightning.pytorch import loggers

    local = {"save_dir": str(folder), "name": "", "version": ""}
    kinds: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
        "csv": (loggers.CSVLogger, local),
        "tensorboard": (_tensorboard, local),
        "wandb": (loggers.WandbLogger, {"save_dir": str(folder)}),
        "mlflow": (loggers.MLFlowLogger, {}),
    }
    built_loggers = []
    for name, options in config.logger.items():
        if name not in kinds:
            raise unknown("logger", name, kinds, "logger=csv")
        cls, defaults = kinds[name]
        try:
            built_loggers.append(cls(**{**defaults, **options}))
        except ModuleNotFoundError:
            raise UserError(
                f"logger={name} needs a package that is not installed; type pip install {name}"
            ) from None
    return built_loggers


def quiet() -> None:
    """Silence Lightning's hints about the machine; real warnings stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for hint in (
        ".*does not have many workers.*",
        ".*number of training batches.*",
        ".*exists and is not empty.*",
        ".*LeafSpec.*",
        ".*sync_dist.*",
        ".*`srun` command is available.*",  # launcher=submitit does that
    ):
        warnings.filterwarnings("ignore", hint)


def _tensorboard(**options: Any) -> Any:
    """Build a logger that writes into the folder it is given, beside the record of the run."""
    from lightning.pytorch.loggers import TensorBoardLogger

    class LiteralPaths(TensorBoardLogger):
        """Takes `$HOME` and `~` in a path for names, as everything else that a run writes does."""

        @property
        def log_dir(self) -> str:
            version = self.version if isinstance(self.version, str) else f"version_{self.version}"
            return str(Path(self.root_dir) / version / (self.sub_dir or ""))

    return LiteralPaths(**options)
