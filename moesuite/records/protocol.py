"""What makes runs the same: protocol versions, and the id that follows from them, options and data.

Protocol versions say which results may stand together; whoever changes what comes out raises them:
one integer for the engine (here), one per router and one per task family (their class attribute
`protocol`). Imports no torch. `tests/records/test_protocol.py` fails when the end states of tiny
runs change and no number does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from moesuite.config.schema import options_of
from moesuite.records.compute import StrictModel

# everything but routers and task families: models, surgery, dispatch, training, data order,
# evaluation
ENGINE = 1


class Protocol(StrictModel):
    """The versions that a run depends on.

    Attributes:
        engine, router, family: protocol versions, >= 1.
        decoder: of the router of `config.decoder`; None: there is no other.
        own: SHA-256 of the file of each class from outside the package, by the option that names
            it: nobody promises to raise a number for these.
    """

    engine: int = Field(ge=1)
    router: int = Field(ge=1)
    decoder: int | None = Field(None, ge=1)
    family: int = Field(ge=1)
    own: dict[str, str] = {}


def protocol_words(protocol: Protocol) -> str:
    """Return the versions on one line, for example "engine 1, router 2, family 1"."""
    versions = protocol.model_dump(exclude={"own"}, exclude_none=True)
    own = [f"{option} file {sha[:12]}" for option, sha in protocol.own.items()]
    return ", ".join([*(f"{name} {version}" for name, version in versions.items()), *own])


def of_router(engine: int, router: int, own: str = "") -> str:
    """Return on one line what a certificate depends on: versions, and the hash of a file from outside the package."""
    return f"engine {engine}, router {router}" + (f", file {own[:12]}" if own else "")


def record_id(
    config: Mapping[str, Any], contents: Mapping[str, str | None], protocol: Protocol, data: str
) -> str:
    """Return the 12-digit hash of what a run's outcome depends on.

    Args:
        config: resolved configuration; what counts is said by the role of each option
            (`moesuite.config.roles`).
        contents: of the checkpoints that it names, by option: what is in them counts, not where
            they are.
        protocol: versions of what computes.
        data: fingerprint of the data.
    """
    values: dict[str, Any] = {}
    for name, option, value, role in options_of(config):
        if role.in_id and isinstance(config[name], dict):
            values.setdefault(name, {})[option] = value
        elif role.in_id:
            values[name] = value
    values |= {name: content for name, content in contents.items() if content is not None}
    text = json.dumps(
        [values, protocol.model_dump(exclude_defaults=True), data],
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]
