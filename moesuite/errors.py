"""Errors with a message for the user: given, expected, and what to type instead."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

LARGEST = 2**63 - 1  # integer
LISTED = 100  # more names than these are not listed in an error
GONE = {  # options of earlier versions: what to do instead
    "router.threshold": "router.threshold is no option any more; expected, for population, "
    "router=expert_threshold, and for group, router=expert_choice_causal without it",
}


class UserError(ValueError):
    """Invalid user input, reported as one line. On the command line: exit code 2, no traceback."""


class UnknownOption(UserError):
    """An option that does not exist.

    Attributes:
        name: of the option, as typed.
    """

    def __init__(self, name: str, options: Iterable[str], end: str) -> None:
        """Name the nearest options.

        Args:
            name: of the option, as typed.
            options: that exist.
            end: of the message.
        """
        close = ", ".join(nearest(name, options)[:3])
        super().__init__(GONE.get(name) or f"unknown option {name!r}; nearest: {close}{end}")
        self.name = name
        self.end = end

    def among(self, options: Iterable[str]) -> UnknownOption:
        """Return the error with the nearest of other options, where one looks like the name."""
        close = difflib.get_close_matches(self.name, options, n=3)
        return UnknownOption(self.name, close, self.end) if close else self


class RunFailed(RuntimeError):
    """A run that did not finish, for example for a loss that is not finite; its record says why."""


class Pruned(RunFailed):
    """A trial stopped early because others of its study were better by then; its record says so."""


def nearest(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """Return the `count` options most similar to `name`, best first; all if none is similar."""
    options = sorted(options)
    close = difflib.get_close_matches(name, options, n=count, cutoff=0.4)
    return close or options


def unknown(kind: str, name: str, options: Iterable[str], hint: str) -> UserError:
    """Build the error for a name that does not exist.

    Example:
        >>> print(unknown("router", "sfot", ["dense", "soft"], "router=soft"))
        unknown router 'sfot'; nearest: soft; all: dense, soft; type for example router=soft
    """
    options = sorted(options)
    close = nearest(name, options)
    all_names = f"all: {', '.join(options)}; " if len(options) <= LISTED else ""
    nearest_names = f"nearest: {', '.join(close)}; "
    if len(close) > 3:  # nothing looks like it
        nearest_names = ""
    return UserError(f"unknown {kind} {name!r}; {nearest_names}{all_names}type for example {hint}")


def refuse_unwritable(folder: Path, option: str) -> None:
    """Refuse, before long work, a folder that its results could not be written to; makes nothing.

    Args:
        folder: need not exist.
        option: as typed, for the message, e.g. `records=runs`.

    Raises:
        UserError: if neither the folder nor, where it is missing, its parent can be written to.
    """
    try:
        present = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        raise UserError(
            f"{option} cannot be written: {error.strerror}; expected a folder that is yours, or a "
            "new one"
        ) from None


def refuse_overflow(values: object, name: str = "") -> None:
    """Refuse integers of more than 64 bits, which no tensor and no database holds.

    Args:
        values: options, nested in mappings and sequences.
        name: of the option that they belong to, dotted; empty: of none yet.

    Raises:
        UserError: for the first of them.
    """
    if isinstance(values, Mapping):
        for key, value in values.items():
            refuse_overflow(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list | tuple):
        for value in values:
            refuse_overflow(value, name)
    elif isinstance(values, int) and abs(values) > LARGEST:
        raise UserError(f"{name}={values}: expected at most {LARGEST}")
