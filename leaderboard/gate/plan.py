"""Planned optimizer steps and validations of a configuration.

The same as in `moesuite.train.dataloaders`, without torch.
"""

from __future__ import annotations

import math
from typing import Any

from moesuite.config.schema import NAMED
from moesuite.records.record import RunRecord

EPOCHS = 10  # of a task without a recipe, as in `moesuite.train.trainer`
MOST_DEVICES = 256  # tried if a record does not say how many devices it used


def devices(record: RunRecord) -> int:
    """Return the number of processes of a run, or 0 if its configuration leaves it open."""
    options = record.config["trainer"]
    counts = [options.get(name) or 1 for name in ("devices", "num_nodes")]
    if (
        counts[0] in ("auto", -1, "-1")
        and record.compute is not None
        and record.compute.device == "cpu"
    ):
        counts[0] = 1  # Lightning's choice on a CPU
    return math.prod(counts) if all(isinstance(count, int) and count > 0 for count in counts) else 0


def goes_on(record: RunRecord) -> bool:
    """Return whether steps count from the first one of the upcycled dense run.

    See `moesuite.config.schema.RunConfig.goes_on`.
    """
    upcycle = record.config.get("upcycle")
    state = record.config.get("upcycle_state")
    return record.sunk is not None or (
        isinstance(upcycle, str) and not upcycle.startswith(NAMED) and state != "weights"
    )


def planned_epochs(config: dict[str, Any]) -> int:
    """Return the epochs of a run, or -1 if steps or time limit it."""
    epochs = config["trainer"].get("max_epochs")
    if isinstance(epochs, int):
        return epochs
    if most_steps(config) >= 0 or config["trainer"].get("max_time") is not None:
        return -1
    recipe = config["task"].get("recipe")
    epochs = recipe.get("epochs", EPOCHS) if isinstance(recipe, dict) else EPOCHS
    return epochs if isinstance(epochs, int) else -1


def most_steps(config: dict[str, Any]) -> int:
    """Return the limit of steps, or -1."""
    limit = config["trainer"].get("max_steps")
    return limit if isinstance(limit, int) else -1


def epoch_steps(record: RunRecord, world: int) -> int | None:
    """Return the optimizer steps of an epoch on `world` processes, or None if unknown."""
    trainer, batch = record.config["trainer"], record.config["data"].get("batch_size")
    accumulated, train = trainer.get("accumulate_grad_batches", 1), record.splits.get("train")
    whole = trainer.get("limit_train_batches") in (None, 1.0) and not record.config["task"].get(
        "streaming"
    )
    if (
        train is None
        or not whole
        or not all(isinstance(n, int) and n > 0 for n in (batch, accumulated))
    ):
        return None
    # the last, smaller batch is dropped
    return math.ceil(max(1, train // world // batch) / accumulated)


def planned_steps(record: RunRecord, world: int) -> int | None:
    """Return the steps of training on `world` processes, or None if unknown."""
    epochs, limit = planned_epochs(record.config), most_steps(record.config)
    if epochs == 0:
        return 0
    if epochs < 0:
        return None if limit < 0 else limit
    each = epoch_steps(record, world)
    if each is None or goes_on(record):
        return None
    return each * epochs if limit < 0 else min(each * epochs, limit)


def validated_every(record: RunRecord) -> int | None:
    """Return the steps between validations; 0 without validation; None if unknown."""
    trainer, world = record.config["trainer"], devices(record)
    timed = trainer.get("max_time") is not None  # Lightning validates where time runs out
    if (
        "check_val_every_n_epoch" not in trainer
        or trainer.get("barebones")
        or timed
        or goes_on(record)
    ):
        return None
    if (limit := trainer.get("limit_val_batches")) is not None and limit == 0:
        return 0
    epochs, interval = trainer["check_val_every_n_epoch"], trainer.get("val_check_interval")
    if epochs is None:
        by_batch = type(interval) is int and trainer.get("accumulate_grad_batches", 1) == 1
        return interval if by_batch and interval > 0 else None
    at_end = interval is None or (isinstance(interval, float) and interval == 1.0)
    each = epoch_steps(record, world) if world else None
    return (
        each * epochs
        if at_end and each is not None and isinstance(epochs, int) and epochs > 0
        else None
    )
