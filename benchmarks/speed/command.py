"""What the commands of this folder share: key=value words, sizes, help and errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from moesuite.benchmarks.speed.contestants import Size
from moesuite.config.cli import exits
from moesuite.errors import UserError, unknown

Values = Mapping[str, str]
NUMBERS = {
    "experts": "8,64",
    "groups": "16",
    "tokens": "196",
    "dim": "384",
    "hidden": "1536",
    "seconds": "20",
}


def command(text: str | None, run: Callable[[Values], None], **more: str) -> None:
    """Run a command on the words of the command line; exits with 2 for bad input.

    Args:
        text: of --help.
        run: called with every option's value.
        more: options beside `NUMBERS`, and their defaults; a default that is a number allows
            numbers only.
    """
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(text)
        return
    with exits():
        run(parse(sys.argv[1:], {**NUMBERS, **more}))


def parse(words: list[str], defaults: Values, example: str = "experts=8,64") -> Values:
    """Read key=value words.

    Args:
        words: of the command line.
        defaults: by option.
        example: of a word, for the error.

    Raises:
        UserError: for an unknown option or a value that is not a number.
    """
    values = dict(defaults)
    for word in words:
        key, _, value = word.partition("=")
        if key not in values:
            raise unknown("option", key, values, example)
        if _is_numbers(defaults[key]) and not _is_numbers(value):
            raise UserError(
                f"{word}: allowed are positive numbers; type for example {key}={defaults[key]}"
            )
        values[key] = value
    return values


def _is_numbers(text: str) -> bool:
    return all(part.replace(".", "", 1).isdigit() for part in text.split(","))


def sizes(values: Values) -> list[Size]:
    """Return every combination of the numbers of groups and experts that are asked for."""
    tokens, dim, hidden = (int(values[key]) for key in ("tokens", "dim", "hidden"))
    return [
        Size(int(groups), tokens, dim, hidden, int(num_experts))
        for groups in values["groups"].split(",")
        for num_experts in values["experts"].split(",")
    ]
