"""Whether the command of a record gives its configuration. Composed, never executed. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from moesuite.config.cli import FOLDER, flags_first
from moesuite.config.compose import compose
from moesuite.config.run_command import reproduce
from moesuite.errors import UserError
from moesuite.records.record import RunRecord, record_id

START = shlex.split(reproduce([]))


def command_problem(record: RunRecord) -> str:
    """Return how the command of a record differs from its run, in words; empty if it gives its id.

    Raises:
        UserError: if a folder of configurations that it names is missing here, so that nobody can
            tell.
    """
    try:
        words = shlex.split(record.command)
    except ValueError:
        words = []
    if words[: len(START)] != START:
        return f"its command is none of this package, and was not executed: {record.command[:60]!r}"
    try:
        words = flags_first(words[len(START) :])
        missing = [word for word in words if _names_no_folder(word)]
        if not missing:
            return _difference(record, words)
    except UserError as error:
        return f"its command gives no run: {error}"
    raise UserError(f"its command names {missing[0]}, which is not here; verify it where it is")


def _names_no_folder(word: str) -> bool:
    flag, _, folder = word.partition("=")
    return flag == FOLDER and not Path(folder).is_dir()


def _difference(record: RunRecord, words: Sequence[str]) -> str:
    from moesuite.records.identity import content_of, content_of_folder

    values = compose(*words).resolved().model_dump()
    contents = dict(record.contents)
    for option in contents:
        section, _, name = option.partition(".")
        if name and values[section].get(name) != record.config[section].get(name):
            contents[option] = content_of_folder(values[section].get(name))
        elif not name and values[option] != record.config.get(option):
            contents[option] = content_of(values[option], option)
    identity = record_id(values, contents, record.protocol, record.data_fingerprint)
    if identity != record.id:
        return f"its command gives another run: {identity}"
    source = values["task"].get("source")
    recorded = record.config["task"].get("source")
    if source != recorded:
        return f"its command reads other data: task.source={source}, recorded {recorded}"
    return ""
