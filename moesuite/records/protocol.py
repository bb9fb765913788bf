"""Protocol versions, and the record id that follows from them, the options and the data.

Results of equal protocol versions are comparable. Whoever changes results raises a version: the
engine's (here), a router's or a task family's (class attribute `protocol`).
`tests/records/test_protocol.py` fails if the end states of tiny runs change and no version does.
No torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from moesuite.config.schema import options_of
from moesuite.records.compute import StrictModel

# models, surgery, dispatch, training, data order, evaluation: all but routers and task families
ENGINE = 1
HF = "hf:"  # before the folder of a model
FOLDERS = ("backbone.model", "backbone.tokenizer", "task.tokenizer")  # options that may name one


class Protocol(StrictModel):
    """The versions that a run depends on.

    Attributes:
        engine, router, family: protocol versions, >= 1.
        decoder: version of the router of `config.decoder`; None without one.
        own: SHA-256 of the file of each class from outside the package, by the option that names
            it: nobody promises to raise a version for these.
    """

    engine: int = Field(ge=1)
    router: int = Field(ge=1)
    decoder: int | None = Field(None, ge=1)
    family: int = Field(ge=1)
    own: dict[str, str] = {}


def _renamed(values: Any, place: str, content: str) -> Any:
    """Return values with the hash of a folder where they name it, as `hf:<folder>` too."""
    if isinstance(values, dict):
        return {key: _renamed(value, place, content) for key, value in values.items()}
    if isinstance(values, str) and values.removeprefix(HF) == place.removeprefix(HF):
        return content
    return values


def protocol_words(protocol: Protocol) -> str:
    """Return the versions on one line, for example "engine 1, router 2, family 1"."""
    versions = protocol.model_dump(exclude={"own"}, exclude_none=True)
    files = [f"{option} file {sha[:12]}" for option, sha in protocol.own.items()]
    return ", ".join([*(f"{name} {version}" for name, version in versions.items()), *files])


def of_router(engine: int, router: int, own: str = "") -> str:
    """Return the versions (and file hash, if outside the package) behind a certificate."""
    return f"engine {engine}, router {router}" + (f", file {own[:12]}" if own else "")


def record_id(
    config: Mapping[str, Any], contents: Mapping[str, str | None], protocol: Protocol, data: str
) -> str:
    """Return the 12-digit hash of everything that the outcome of a run depends on.

    Args:
        config: resolved configuration; what counts is said by the role of each option
            (`moesuite.config.roles`).
        contents: of the checkpoints and the folders of models and tokenizers that it names, by
            option: what is in them counts, not where they are.
        protocol: versions of what computes.
        data: fingerprint of the data.
    """
    values: dict[str, Any] = {}
    for name, option, value, role in options_of(config):
        if role.in_id and isinstance(config[name], dict):
            values.setdefault(name, {})[option] = value
        elif role.in_id:
            values[name] = value
    values |= {
        name: content
        for name, content in contents.items()
        if content is not None and name not in FOLDERS
    }
    for name in FOLDERS:
        if (content := contents.get(name)) is not None:
            section, _, option = name.partition(".")
            values = _renamed(values, str(config[section][option]), content)
    text = json.dumps(
        [values, protocol.model_dump(exclude_defaults=True), data],
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]
