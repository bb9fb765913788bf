"""Protocol versions on a board, in words: which are older than others that ran too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from moesuite.leaderboard.entry import PROTOCOL, Facts


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
    return f"{key.removeprefix(PROTOCOL)} protocol {version}" + (f"; newest is {latest}" if version < latest else "")


def outdated(options: Facts, latest: Mapping[str, int]) -> str:
    """Return which of the versions are older than the newest, in words; empty for none."""
    keys = [key for key in sorted(options) if key.startswith(PROTOCOL) and options[key] < latest.get(key, 0)]
    return ", ".join(in_words(key, options[key], latest[key]) for key in keys)
