"""Protocol versions on a board: which ones this package knows, and which are outdated, in words."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Literal

from moesuite.discovery.names import packaged
from moesuite.leaderboard.ingest.facts import PROTOCOL, Facts
from moesuite.records.protocol import ENGINE
from moesuite.records.record import RunRecord

Kind = Literal["routers", "tasks"]


@cache
def known(kind: Kind, name: str) -> int | None:
    """Return the protocol version of a router or task family of the package, read from its source.

    None for any other name.
    """
    if (path := packaged(kind, name)) is None:
        return None
    classes = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    return max([1, *(_declared(node) for node in classes)])


def _declared(node: ast.ClassDef) -> int:
    """Return the version that the body of a class declares, or 1, which it inherits."""
    for item in node.body:
        targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if names == ["protocol"] and isinstance(
            value := getattr(item, "value", None), ast.Constant
        ):
            return int(str(value.value))
    return 1


def unknown(record: RunRecord) -> str:
    """Return which versions of a record are newer than this package knows, or "".

    A made-up version would make all honest results look outdated.
    """
    protocol, decoder = record.protocol, record.config.get("decoder")
    versions = {
        "engine": (protocol.engine, ENGINE),
        "router": (protocol.router, known("routers", record.router)),
        "decoder": (protocol.decoder or 1, known("routers", _name(decoder, "name"))),
        "family": (protocol.family, known("tasks", _name(record.config["task"], "family"))),
    }
    return "; ".join(
        f"{name} protocol {version}, here up to {newest} is known"
        for name, (version, newest) in versions.items()
        if newest and version > newest
    )


def _name(section: object, key: str) -> str:
    return str(section.get(key, "")) if isinstance(section, dict) else ""


def latest_of(settings: Iterable[Facts], family: str) -> dict[str, int]:
    """Return the newest versions of engine and task family, of runs and of this package.

    Args:
        settings: of the runs.
        family: of the task.
    """
    here = {f"{PROTOCOL}engine": ENGINE, f"{PROTOCOL}family": known("tasks", family) or 1}
    ran = newest(settings)
    return {key: max(ran.get(key, 0), version) for key, version in here.items()}


def on_page(settings: Sequence[Facts], family: str) -> str:
    """Return the newest versions of runs on tasks of a `family`, in words."""
    latest = latest_of(settings, family)
    return ", ".join(
        in_words(key, version, latest.get(key, 0)) for key, version in newest(settings).items()
    )


def newest(facts: Iterable[Facts]) -> dict[str, int]:
    """Return the highest version of each part.

    Settings have versions of engine and family, contestants those of router and decoder.
    """
    versions: dict[str, int] = {}
    for options in facts:
        for key, version in options.items():
            if key.startswith(PROTOCOL):
                versions[key] = max(version, versions.get(key, 0))
    return versions


def in_words(key: str, version: int, latest: int) -> str:
    """Return e.g. "engine protocol 1; newest is 2"."""
    text = f"{key.removeprefix(PROTOCOL)} protocol {version}"
    return f"{text}; newest is {latest}" if version < latest else text


def outdated(options: Facts, latest: Mapping[str, int]) -> str:
    """Return which of the versions are older than the newest, in words, or ""."""
    keys = [
        key
        for key in sorted(options)
        if key.startswith(PROTOCOL) and options[key] < latest.get(key, 0)
    ]
    return ", ".join(in_words(key, options[key], latest[key]) for key in keys)
