"""Identity of a run: options that change results, protocol, data, contents of checkpoints."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface
from typing import runtime_checkable

from moesuite.config.options import as_path
from moesuite.config.schema import RunConfig
from moesuite.discovery.loading import load_router
from moesuite.discovery.names import packaged, source_of
from moesuite.errors import UserError
from moesuite.records.protocol import ENGINE, Protocol
from moesuite.records.provenance import code_version
from moesuite.records.record import record_id


@runtime_checkable
class Identified(Interface):
    """The part of a task that the ids of its runs depend on; see `moesuite.task.Task`."""

    @property
    def fingerprint(self) -> str:
        """Hash of the data."""

    @property
    def protocol(self) -> int:
        """Version of the family."""

    @property
    def own_files(self) -> Mapping[str, Path]:
        """File of each class from outside the package, by the option that names it."""


@dataclass(frozen=True)
class Identity:
    """Identity and code version of a run, by the names of the record's fields.

    Attributes:
        id: name of the record: hash of configuration, data, contents and protocol.
        contents: hashes of the checkpoints that the run starts from, by option.
        protocol: versions of engine, router and task family.
        code: hash of the sources: provenance, not part of the id.
    """

    id: str
    contents: dict[str, str | None]
    protocol: Protocol
    code: str


def identity(config: RunConfig, task: Identified) -> Identity:
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


def protocol_of(config: RunConfig, task: Identified) -> Protocol:
    """Return the versions that a run depends on."""
    names = {"router": config.router["name"]}
    if config.decoder and "name" in config.decoder:  # that it is missing is told by surgery
        names["decoder"] = config.decoder["name"]
    files = {
        option: source_of(name)[0]
        for option, name in names.items()
        if packaged("routers", name) is None
    } | dict(task.own_files)
    if packaged("tasks", config.task["family"]) is None:
        files["task.family"] = Path(inspect.getfile(type(task)))
    return Protocol(
        engine=ENGINE,
        family=task.protocol,
        own={
            option: hashlib.sha256(files[option].read_bytes()).hexdigest()
            for option in sorted(files)
        },
        **{option: load_router(name).protocol for option, name in names.items()},
    )


def content_of(checkpoint: str | None, option: str = "init") -> str | None:
    """Return the hash of a checkpoint's content, or None without a checkpoint.

    A run starts from weights, not from a path.

    Raises:
        UserError: if there is no such file.
    """
    if checkpoint is None:
        return None
    with existing(option, checkpoint).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def existing(option: str, checkpoint: str) -> Path:
    """Return the path of a checkpoint.

    Raises:
        UserError: if there is no such file.
    """
    if not (path := as_path(checkpoint)).is_file():
        raise UserError(
            f"{option}={checkpoint}: no such file; allowed: a checkpoint of a run; "
            f"type for example {option}=runs/digits/dense/0123456789ab/last.ckpt"
        )
    return path
