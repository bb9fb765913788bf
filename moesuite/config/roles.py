"""Roles of the options of a run: which change the results, which tell contestants apart.

Every field of `moesuite.config.schema` carries its role; options of tasks and of Lightning's
Trainer, which other code declares, have theirs here. The id of a run and the settings of the
leaderboard follow from them. Some options cut a run short: such partial runs are for trying
something out, and kept off every board. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from moesuite.errors import UserError


class Role(Enum):
    """What an option does.

    `OUTCOME` changes the results, and is equal in all runs that are compared; `CONTESTANT` is what
    they differ in; `SEED` changes the results by chance alone. `DETAIL` may change rounding or the
    curve, but not what is compared. `LABEL` names the run or permits it, and has its own place on
    the board. `LOCATION` says where data is read; the fingerprint of the data identifies it.
    `PRESENTATION` says how a run is executed, shown or stored. The last two change no result.
    """

    OUTCOME = "outcome"
    CONTESTANT = "contestant"
    SEED = "seed"
    DETAIL = "detail"
    LABEL = "label"
    LOCATION = "location"
    PRESENTATION = "presentation"

    @property
    def in_id(self) -> bool:
        """Whether the id of a run depends on such an option."""
        return self not in (Role.LOCATION, Role.PRESENTATION)

    @property
    def in_setting(self) -> bool:
        """Whether runs that differ in such an option are never compared."""
        return self is Role.OUTCOME


@dataclass(frozen=True)
class FreeOptions:
    """Roles by name of a section without fields; any other option is `Role.OUTCOME`."""

    roles: Mapping[str, Role]


# Options of tasks. Not among them: `config`, the configuration of a data set, which no fingerprint
# tells, and `cache`, by which images are resized before they are cropped.
TASK = {
    "name": Role.LABEL,
    "family": Role.LABEL,
    "strict": Role.LABEL,
    "world": Role.SEED,
    "hub": Role.LOCATION,
    "revision": Role.LOCATION,
    "source": Role.LOCATION,
    "licence": Role.PRESENTATION,
    "size": Role.PRESENTATION,
    "ceiling": Role.PRESENTATION,
}
TRAINER = {
    "accelerator": Role.DETAIL,
    "check_val_every_n_epoch": Role.DETAIL,
    "inference_mode": Role.DETAIL,
    "limit_val_batches": Role.DETAIL,
    "num_sanity_val_steps": Role.DETAIL,
    "val_check_interval": Role.DETAIL,
    "barebones": Role.PRESENTATION,
    "default_root_dir": Role.PRESENTATION,
    "detect_anomaly": Role.PRESENTATION,
    "enable_autolog_hparams": Role.PRESENTATION,
    "enable_checkpointing": Role.PRESENTATION,
    "enable_model_summary": Role.PRESENTATION,
    "enable_progress_bar": Role.PRESENTATION,
    "log_every_n_steps": Role.PRESENTATION,
    "model_registry": Role.PRESENTATION,
    "profiler": Role.PRESENTATION,
}

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
            "trainer.limit_test_batches=0: nothing would be evaluated; type for example"
            " trainer.limit_test_batches=1, which makes the run partial"
        )
    if batches := trainer.get("overfit_batches"):
        raise UserError(
            f"trainer.overfit_batches={batches}: it replaces the order of the data, from which an"
            f" interrupted run resumes; type trainer.limit_train_batches={batches}, which makes the"
            " run partial"
        )
