"""What an option of a run does: whether it changes what comes out, and whether it tells contestants apart.

Every field of `moesuite.config.schema` has its role as annotation; options of tasks and of
Lightning's Trainer, which are free by name, have theirs here. The id of a run and the settings of
the leaderboard follow from them. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """What an option does.

    `OUTCOME` changes what comes out and is shared by all that are compared; `CONTESTANT` is what
    they differ in; `SEED` changes what comes out by chance alone. `DETAIL` may change rounding or
    the curve, but not what is compared. `LABEL` names the run or permits it, and the board shows it
    by itself. `LOCATION` says where data is read, whose fingerprint tells what is in it;
    `PRESENTATION` how a run is executed, shown or stored. These two change nothing.
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
    """Annotation of a section whose options have no fields: their roles by name; any other is `Role.OUTCOME`."""

    roles: Mapping[str, Role]


# Options of tasks. Not among them: `config`, the configuration of a data set, which no fingerprint
# tells, and `cache`, by which images are resized before they are cropped.
TASK = {
    "name": Role.LABEL,
    "family": Role.LABEL,
    "strict": Role.LABEL,
    "hub": Role.LOCATION,
    "revision": Role.LOCATION,
    "source": Role.LOCATION,
    "licence": Role.PRESENTATION,
    "size": Role.PRESENTATION,
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
