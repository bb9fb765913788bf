"""Identity of a run: options that change results, protocol, data, contents of checkpoints."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, runtime_checkable
from typing import Protocol as Interface

from moesuite.config.options import as_path
from moesuite.config.schema import RunConfig
from moesuite.discovery.loading import load_router
from moesuite.discovery.names import packaged, source_of
from moesuite.errors import UserError
from moesuite.records.protocol import ENGINE, FOLDERS, HF, Protocol
from moesuite.records.provenance import code_version
from moesuite.records.record import record_id

OF_A_MODEL = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
UNREAD = (".md", ".png", ".py")  # suffixes of files that no model or tokenizer is read from


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
        contents: hashes of the checkpoints that the run starts from, and of local folders of its
            model and tokenizer, by option.
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
    values = config.model_dump()
    for option in FOLDERS:
        section, _, name = option.partition(".")
        if (content := content_of_folder(values[section].get(name))) is not None:
            contents[option] = content
    protocol = protocol_of(config, task)
    made_of = contents, protocol, task.fingerprint
    code = code_version(config.router["name"])
    return Identity(record_id(values, *made_of), contents, protocol, code)


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


def content_of_folder(name: Any) -> str | None:
    """Return the hash of a local folder of a model or a tokenizer; None for any other name.

    Files that change no result, those of documentation, are left out.
    """
    folder = as_path(str(name).removeprefix(HF))
    # as transformers reads names: a folder comes before a model type or an id of the hub
    if "/" not in str(name) or not any((folder / file).is_file() for file in OF_A_MODEL):
        return None
    whole = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.name.startswith(".") and file.suffix not in UNREAD:
            stat = file.stat()
            content = _hashed(file, (stat.st_size, stat.st_mtime_ns, stat.st_ino))
            whole.update(f"{file.name} {content}\n".encode())
    return whole.hexdigest()


@lru_cache(maxsize=1000)
def _hashed(file: Path, _: tuple[int, int, int]) -> str:
    """Return the hash of a file: read once by a process while size, time and inode stay."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
