"""The one error that a user sees: what was given, what is allowed, what to type instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LISTED = 100  # names that are listed as a whole


class UserError(ValueError):
    """Bad input, told in one clear line. On the command line: exit code 2 and no traceback."""


class RunFailed(RuntimeError):
    """A run that could not be finished (for example a loss that is not finite); its record says why."""


class Pruned(RunFailed):
    """A trial that was stopped because others of its study were better by then; its record says so."""


def nearest(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `options` that look most like `name`, best first; all of them if few look alike."""
    options = sorted(options)
    close = difflib.get_close_matches(name, options, n=count, cutoff=0.4)
    return close or options


def unknown(kind: str, name: str, options: Iterable[str], hint: str) -> UserError:
    """Build the error for a name that does not exist, for example `unknown("router", "sfot", names, "router=soft")`."""
    options = sorted(options)
    best = nearest(name, options)
    everything = f"all: {', '.join(options)}; " if len(options) <= LISTED else ""
    return UserError(
        f"unknown {kind} {name!r}; nearest: {', '.join(best)}; {everything}type for example {hint}"
    )
