"""What commands share: options with a few choices, errors in one line, and no garbage collection of imports."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from moesuite.errors import UserError

BAD_INPUT = 2
FORMATS = ("table", "markdown", "json")


def take(
    words: Sequence[str], choices: Mapping[str, Sequence[str]]
) -> tuple[dict[str, str], list[str]]:
    """Take the options of `choices` out of key=value words; an option that is not given has its first choice.

    Raises:
        UserError: for a value that is no choice.
    """
    values, rest = {key: allowed[0] for key, allowed in choices.items()}, []
    for word in words:
        key, _, value = word.partition("=")
        if key not in choices:
            rest.append(word)
        elif value not in choices[key]:
            raise UserError(
                f"{word}: allowed are {', '.join(choices[key])}; type for example {key}={choices[key][0]}"
            )
        else:
            values[key] = value
    return values, rest


@contextmanager
def bad_input_exits() -> Iterator[None]:
    """Turn bad input into one line and exit code 2."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


@contextmanager
def importing() -> Iterator[None]:
    """Import without collecting, and never look at what was imported again: 2 of 8 seconds of a short command."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        atexit.register(gc.freeze)  # Python collects once more before it ends
