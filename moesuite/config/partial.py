"""Runs that are cut short on purpose: useful to try something, and kept off every board. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moesuite.errors import UserError

# What each option of Lightning's Trainer is in a whole run. A number of steps is a setting, not a
# part, zero epochs evaluate a model as it is, and what is left out of validation changes no result.
WHOLE: Mapping[str, Callable[[Any], bool]] = {
    "fast_dev_run": lambda value: not value,
    "limit_train_batches": lambda value: value is None or _is_all(value),
    "limit_test_batches": lambda value: value is None or _is_all(value),
    "overfit_batches": lambda value: not value,
    "max_steps": lambda value: value != 0,
}


def _is_all(share: Any) -> bool:
    """Return whether a limit is the share 1.0; a whole 1 is one batch."""
    return isinstance(share, float) and share == 1.0


def partial_options(config: Mapping[str, Any]) -> list[str]:
    """Return the options that make a run partial, as they were typed; empty for a whole run.

    Args:
        config: resolved configuration, of a record too.

    Example:
        >>> partial_options({"trainer": {"limit_test_batches": 8, "max_steps": 100}})
        ['trainer.limit_test_batches=8']
    """
    trainer = config.get("trainer", {})
    return [
        f"trainer.{name}={trainer[name]}"
        for name, whole in WHOLE.items()
        if name in trainer and not whole(trainer[name])
    ]


def stopped_by_time(trainer: Mapping[str, Any], steps: int, planned: int) -> list[str]:
    """Return the limit of time that ended a run before its steps; empty if none did.

    Args:
        trainer: options of the Trainer.
        steps: that were trained.
        planned: by epochs and steps; -1: as many as the time allows, which is then a setting.
    """
    limit = trainer.get("max_time")
    return [f"trainer.max_time={limit}"] if limit is not None and 0 <= steps < planned else []


def refuse_nothing(trainer: Mapping[str, Any]) -> None:
    """Refuse limits with which a run measures nothing, or cannot go on.

    Raises:
        UserError: with what to type instead.
    """
    if trainer.get("limit_test_batches") == 0:
        raise UserError(
            "trainer.limit_test_batches=0: nothing would be evaluated; type for example trainer.limit_test_batches=1, "
            "which makes the run partial"
        )
    if batches := trainer.get("overfit_batches"):
        raise UserError(
            f"trainer.overfit_batches={batches}: it replaces the order of the data, which an interrupted run goes on "
            f"with; type trainer.limit_train_batches={batches}, which makes the run partial"
        )
