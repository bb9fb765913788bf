"""What a setting and a contestant are: flat options by name, and the hash that stands for them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from moesuite.config.roles import Role
from moesuite.config.schema import options_of
from moesuite.records.record import RunRecord

DENSE_OPTIONS = ("tile_depth", "upcycle", "upcycle_state", "init")  # in which dense models differ
ROUTERS = ("router", "decoder")
PROTOCOL = "protocol."  # prefix of the facts that are protocol versions
Facts = dict[str, Any]


def setting_of(record: RunRecord) -> Facts:
    """Return what contestants of a comparison share, by flat name.

    These are task options, backbone, optimizer, batch, budget and protocol versions. The name of a
    study is one of them: what it tuned is compared only with what was tuned in the same study.
    """
    setting: Facts = {
        f"{name}.{option}".rstrip("."): value
        for name, option, value, role in options_of(record.config)
        if role.in_setting
    }
    if record.config.get("study"):
        setting["study"] = record.config["study"]
    protocol = record.protocol
    setting |= {f"{PROTOCOL}engine": protocol.engine, f"{PROTOCOL}family": protocol.family}
    return setting | {
        f"own.{name}": sha for name, sha in protocol.own.items() if name not in ROUTERS
    }


def contestant_of(record: RunRecord) -> Facts:
    """Return what tells a contestant from the others of its setting, by flat name."""
    contestant: Facts = {"router": record.router, f"{PROTOCOL}router": record.protocol.router}
    contestant |= {
        f"own.{name}": sha for name, sha in record.protocol.own.items() if name in ROUTERS
    }
    for name, option, value, role in options_of(record.config):
        if role is not Role.CONTESTANT or (record.router == "dense" and name not in DENSE_OPTIONS):
            continue
        if name != "router":
            contestant[name] = record.config[name]
        elif option != "name":
            contestant[f"router.{option}"] = value
    if "upcycle" in record.contents:  # each seed has its own checkpoint
        contestant["upcycle"] = "a dense run"
    if contestant.get("init"):
        contestant["init"] = record.contents.get("init")
    if record.protocol.decoder is not None:
        contestant[f"{PROTOCOL}decoder"] = record.protocol.decoder
    return contestant


def digest(facts: Any) -> str:
    """Return the hash of anything that JSON can hold, as 12 hexadecimal digits."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
