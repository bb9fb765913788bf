"""What makes two runs the same: configuration, code, data, and the content of the checkpoints that they start from."""

from __future__ import annotations

from moesuite.config import RunConfig
from moesuite.provenance import code_version
from moesuite.record import record_id
from moesuite.task import Task
from moesuite.weights import content_of

# options that change how a run is shown or stored, not what comes out
OUTSIDE = {"records", "force", "logger", "measure", "energy"}
OUTSIDE_TRAINER = {"enable_progress_bar", "enable_model_summary", "enable_checkpointing", "log_every_n_steps"}


def identity(config: RunConfig, task: Task) -> str:
    """Return the id of a run, the name of its record.

    Raises:
        UserError: for a checkpoint that is not there.
    """
    values = config.model_dump(exclude=OUTSIDE) | {"init": content_of(config.init)}
    if config.upcycles_run:
        values["upcycle"] = content_of(config.upcycle, "upcycle")
    values["trainer"] = {k: v for k, v in values["trainer"].items() if k not in OUTSIDE_TRAINER}
    values["task"] = {k: v for k, v in values["task"].items() if k != "source"}  # the data's fingerprint counts
    return record_id(values, code_version(config.router["name"]), task.fingerprint)
