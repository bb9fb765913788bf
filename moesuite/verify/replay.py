"""Whether the command of a record gives its configuration. Composed, never executed. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from moesuite.config.compose import compose
from moesuite.config.run_command import reproduce
from moesuite.errors import UserError
from moesuite.records.record import RunRecord, record_id

START = shlex.split(reproduce([]))
FOLDER_FLAGS = ("--config-dir", "-cd")


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
    words = list(_joined(words[len(START) :]))
    for word in words:
        flag, _, folder = word.partition("=")
        if flag in FOLDER_FLAGS and not Path(folder).is_dir():
            raise UserError(f"its command names {word}, which is not here; verify it where it is")
    try:
        return _difference(record, words)
    except UserError as error:
        return f"its command gives no run: {error}"


def _joined(words: Sequence[str]) -> Iterator[str]:
    """Yield words, with a flag and its folder as one."""
    rest = iter(words)
    for word in rest:
        yield f"{word}={next(rest, '')}" if word in FOLDER_FLAGS else word


def _difference(record: RunRecord, words: Sequence[str]) -> str:
    from moesuite.records.identity import content_of

    values = compose(*words).resolved().model_dump()
    contents = dict(record.contents)
    for option in contents:
        if values[option] != record.config.get(option):
            contents[option] = content_of(values[option], option)
    identity = record_id(values, contents, record.protocol, record.data_fingerprint)
    if identity != record.id:
        return f"its command gives another run: {identity}"
    source = values["task"].get("source")
    recorded = record.config["task"].get("source")
    if source != recorded:
        return f"its command reads other data: task.source={source}, recorded {recorded}"
    return ""
