"""What makes two runs the same: configuration, code, data, and the content of the checkpoints that they start from."""

from __future__ import annotations

from dataclasses import dataclass

from moesuite.config import RunConfig
from moesuite.provenance import code_version
from moesuite.record import record_id
from moesuite.task import Task
from moesuite.weights import content_of


@dataclass(frozen=True)
class Identity:
    """The id of a run, the name of its record, and what it is the hash of beside configuration and data."""

    id: str
    contents: dict[str, str | None]
    code: str


def identity(config: RunConfig, task: Task) -> Identity:
    """Return the identity of a run.

    Raises:
        UserError: for a checkpoint that is not there.
    """
    contents = {"init": content_of(config.init)}
    if config.upcycles_run:
        contents["upcycle"] = content_of(config.upcycle, "upcycle")
    code = code_version(config.router["name"])
    return Identity(record_id(config.model_dump(), contents, code, task.fingerprint), contents, code)
