"""What makes two runs the same: options that change what comes out, protocol, data, contents of checkpoints."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path

from moesuite.config.discovery import router_class, source_of
from moesuite.config.schema import RunConfig
from moesuite.records.protocol import ENGINE, Protocol
from moesuite.records.provenance import code_version
from moesuite.records.record import record_id
from moesuite.surgery.weights import content_of
from moesuite.task import Task


@dataclass(frozen=True)
class Identity:
    """What a record says of where a run comes from, by the names of its fields.

    Attributes:
        id: name of the record, the hash of configuration, data, contents and protocol.
        contents, protocol: of the checkpoints that it starts from; of what computes.
        code: hash of the sources; provenance, and no part of the id.
    """

    id: str
    contents: dict[str, str | None]
    protocol: Protocol
    code: str


def identity(config: RunConfig, task: Task) -> Identity:
    """Return the identity of a run.

    Raises:
        UserError: for a checkpoint that is not there.
    """
    contents = {"init": content_of(config.init)}
    if config.upcycles_run:
        contents["upcycle"] = content_of(config.upcycle, "upcycle")
    protocol = protocol_of(config, task)
    made_of = contents, protocol, task.fingerprint
    code = code_version(config.router["name"])
    return Identity(record_id(config.model_dump(), *made_of), contents, protocol, code)


def protocol_of(config: RunConfig, task: Task) -> Protocol:
    """Return the versions that a run depends on."""
    names = {"router": config.router["name"]}
    if config.decoder and "name" in config.decoder:  # that it is missing is told by surgery
        names["decoder"] = config.decoder["name"]
    files = {option: source_of(name)[0] for option, name in names.items() if ":" in name} | dict(task.own_files)
    if ":" in config.task["family"]:
        files["task.family"] = Path(inspect.getfile(type(task)))
    return Protocol(
        engine=ENGINE,
        family=task.protocol,
        own={option: hashlib.sha256(files[option].read_bytes()).hexdigest() for option in sorted(files)},
        **{option: router_class(name).protocol for option, name in names.items()},
    )
