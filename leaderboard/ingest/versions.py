"""Protocol versions on a board: which are known, and in words which are older than others."""

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
    """Return the version of a router or family of the package, read from its source; None for any other."""
    if (path := packaged(kind, name)) is None:
        return None
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    return max([1, *(_declared(node) for node in classes)])


def _declared(node: ast.ClassDef) -> int:
    """Return the version that the body of a class declares; 1, the inherited one, where it declares none."""
    for item in node.body:
        targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if names == ["protocol"] and isinstance(
            value := getattr(item, "value", None), ast.Constant
        ):
            return int(str(value.value))
    return 1


def unknown(record: RunRecord) -> str:
    """Return which version of a record is newer than this package knows; empty for none.

    A version that nobody has raised would make all honest results look old.
    """
    protocol, decoder = record.protocol, record.config.get("decoder")
    versions = {
        "engine": (protocol.engine, ENGINE),
        "router": (protocol.router, known("routers", record.router)),
        "decoder": (protocol.decoder or 1, known("routers", _name(decoder, "name"))),
        "family": (protocol.family, known("tasks", _name(record.config["task"], "family"))),
    }
    newer = [
        (name, version, here)
        for name, (version, here) in versions.items()
        if here and version > here
    ]
    return "; ".join(
        f"{name} protocol {version}, here up to {here} is known" for name, version, here in newer
    )


def _name(section: object, key: str) -> str:
    return str(section.get(key, "")) if isinstance(section, dict) else ""


def latest_of(settings: Iterable[Facts], family: str) -> dict[str, int]:
    """Return the newest versions of engine and task family: of what ran, and of what this package knows."""
    here = {f"{PROTOCOL}engine": ENGINE, f"{PROTOCOL}family": known("tasks", family) or 1}
    ran = newest(settings)
    return {key: max(ran.get(key, 0), version) for key, version in here.items()}


def on_page(settings: Sequence[Facts], family: str) -> str:
    """Return the newest versions that ran, in words; `family`: of the task."""
    latest = latest_of(settings, family)
    return ", ".join(
        in_words(key, version, latest.get(key, 0)) for key, version in newest(settings).items()
    )


def newest(facts: Iterable[Facts]) -> dict[str, int]:
    """Return the highest version of each part: of the settings engine and family, of contestants router and decoder."""
    found: dict[str, int] = {}
    for options in facts:
        for key, version in options.items():
            if key.startswith(PROTOCOL):
                found[key] = max(version, found.get(key, 0))
    return found


def in_words(key: str, version: int, latest: int) -> str:
    """Return for example "engine protocol 1; newest is 2"."""
    return f"{key.removeprefix(PROTOCOL)} protocol {version}" + (
        f"; newest is {latest}" if version < latest else ""
    )


def outdated(options: Facts, latest: Mapping[str, int]) -> str:
    """Return which of the versions are older than the newest, in words; empty for none."""
    keys = [
        key
        for key in sorted(options)
        if key.startswith(PROTOCOL) and options[key] < latest.get(key, 0)
    ]
    return ", ".join(in_words(key, options[key], latest[key]) for key in keys)
