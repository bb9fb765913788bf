"""Impossible origins: task, router, seed and command that do not belong together."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

from moesuite.config.schema import NAMED
from moesuite.discovery.names import packaged, router_defaults, task_files
from moesuite.discovery.plugins import Group
from moesuite.errors import UserError
from moesuite.leaderboard.gate.ranges import within
from moesuite.records.protocol import FOLDERS as OF_MODELS
from moesuite.records.record import RunRecord

SEEDS = 2**32  # as many as Lightning and NumPy know
QUOTED = re.compile(r"""'[^']*'|"[^"$`\\]*\"""")
OPERATORS = re.compile(r"""[;&|<>()$`\\\n\r#'"]""")  # of a POSIX shell, outside quotes
START = re.compile(r"(python3? -m moesuite\.|moesuite )(run|tune)(?= |$)")
SINGLE = re.compile(r"[\w./:-]+")  # a value that is neither a sweep nor an expression
FOLDERS = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn")


def check_origin(record: RunRecord) -> None:
    """Refuse an impossible origin.

    Raises:
        UserError: names the first such field, its value, and what is allowed.
    """
    config = record.config
    within("seed", record.seed, 0, SEEDS - 1)
    if isinstance(lr := config["optim"].get("lr"), int | float) and not lr > 0:
        raise UserError(f"config.optim.lr is {lr:.6g}; allowed: more than 0")
    _check_task(record)
    _check_router(record)
    _check_contents(record)
    check_command(record.command)
    _check_words(record)


def _check_task(record: RunRecord) -> None:
    """Check family and data of a packaged task against its YAML; any source of a user passes."""
    options = record.config["task"]
    declared = declared_task(record.task)
    if declared is None or options.get("source"):
        return
    for name in ("family", "embedded"):
        if options.get(name) != declared.get(name):
            allowed = f"{declared.get(name)} ({record.task}), or another name for the task"
            raise UserError(f"config.task.{name} is {options.get(name)!r:.40}; allowed: {allowed}")


@cache
def _declared() -> dict[str, dict[str, Any]]:
    """Return the task section and the family of each data set of the package, by name."""
    import yaml

    tasks = {}
    for path in task_files().values():
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        family = next(
            (str(item)[1:] for item in values["defaults"] if str(item).startswith("_")), ""
        )
        tasks[str(values["task"].get("name", path.stem))] = {"family": family, **values["task"]}
    return tasks


@cache
def declared_task(name: str) -> dict[str, Any] | None:
    """Return the declaration of a packaged task, or of one set of it (glue_mrpc), or None."""
    for declared, section in _declared().items():
        prefix, brace, _ = declared.partition("${")
        if name == declared or (brace and name.startswith(prefix)):
            return section
    return None


def _check_router(record: RunRecord) -> None:
    """Check options of a packaged router against its signature, and users' files against names."""
    config, decoder = record.config, record.config.get("decoder")
    if packaged("routers", record.router) is not None:
        options = router_options(record.router)
        if more := config["router"].keys() - options - {"name"}:
            allowed = ", ".join(sorted(options)) or "none"
            raise UserError(
                f"config.router.{min(more)} is no option of {record.router}; allowed: {allowed}"
            )
    names = {
        "router": record.router,
        "decoder": str(decoder.get("name", "")) if isinstance(decoder, Mapping) else "",
        "task.family": str(config["task"].get("family", "")),
    }
    for option, sha in record.protocol.own.items():
        kind: Group = "tasks" if option == "task.family" else "routers"
        outside = option in names and packaged(kind, names[option]) is None
        if not outside and (option in names or not option.startswith("task.")):
            raise UserError(
                f"protocol.own.{option} is {sha[:12]}...; "
                "allowed: the hash of a file that is not the package's"
            )


@cache
def router_options(name: str) -> frozenset[str]:
    """Return the options of a router of the package."""
    return frozenset(router_defaults(name))


def _check_contents(record: RunRecord) -> None:
    """Check the hashes of checkpoints by the options that name these."""
    for name in ("init", "upcycle"):
        checkpoint = record.config.get(name)
        # a pretrained model of a library is no file
        named = name == "upcycle" and str(checkpoint).startswith(NAMED)
        if (checkpoint is not None and not named) != bool(record.contents.get(name)):
            allowed = (
                "the hash of its content"
                if checkpoint is not None
                else f"none without config.{name}"
            )
            raise UserError(
                f"contents.{name} is {record.contents.get(name)!r:.20}; allowed: {allowed}"
            )
    for name in record.contents.keys() & set(OF_MODELS):
        section, _, option = name.partition(".")
        if "/" not in str(record.config[section].get(option)):
            raise UserError(f"contents.{name} without a folder; allowed: none without one")


def check_command(command: str) -> None:
    """Refuse anything but one command of the package: readers paste it into their shell.

    Raises:
        UserError: with the command, and what is allowed.
    """
    if not START.match(command) or OPERATORS.search(QUOTED.sub("", command)):
        allowed = "one command, as python -m moesuite.run router=soft, quoted for a shell"
        raise UserError(f"command is {command!r:.60}; allowed: {allowed}")


def _check_words(record: RunRecord) -> None:
    """Check the words of the command against the fields that they set."""
    quoted = "'" in record.command or '"' in record.command
    words = shlex.split(record.command) if quoted else record.command.split()  # shlex takes long
    values = dict(
        word.lstrip("+").split("=", 1) for word in words if "=" in word and word[:1] != "-"
    )
    values = {key: value.strip("'\"") for key, value in values.items()}
    # a folder of YAML may give names another meaning
    elsewhere = any(word.split("=")[0] in FOLDERS for word in words)
    for name, right in (
        ("router", record.router),
        ("task", record.task),
        ("seed", str(record.seed)),
    ):
        value = values.get(f"{name}.name", values.get(name))
        if value is None or not SINGLE.fullmatch(value) or (name == "task" and elsewhere):
            continue
        if name == "seed" and not value.isdigit():
            continue
        if name == "task" and right.startswith(f"{value}_"):
            continue
        if value.lstrip("0") != right.lstrip("0"):
            raise UserError(f"command has {name}={value}; allowed: {name}={right}, as the record")
