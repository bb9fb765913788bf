"""Names of settings and options: by what they are, so that they stay when a run is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moesuite.leaderboard.ingest.facts import PROTOCOL, Facts
from moesuite.leaderboard.ingest.versions import in_words

# options that do nothing at this value, and first versions
NEUTRAL = {"tile_depth": 1, "renormalise": False, f"{PROTOCOL}router": 1, f"{PROTOCOL}decoder": 1}
DIGITS = 8  # of the hash of somebody's own code


def options_text(options: Facts) -> str:
    """Return the options of a contestant as they are typed, without those that do nothing."""
    names = [key for key, value in options.items() if key != "router" and NEUTRAL.get(key) != value]
    names.sort(key=lambda key: (key.startswith(("router.", "own.")), key))
    return ", ".join(_option(key, options[key]) for key in names)


def _option(key: str, value: object) -> str:
    if key.startswith(PROTOCOL) and isinstance(value, int):
        return in_words(key, value, 0)
    return f"{key}={value[:DIGITS] if key.startswith('own.') and isinstance(value, str) else value}"


def setting_names(settings: Sequence[tuple[Facts, int]]) -> list[str]:
    """Return the names of settings: backbone, steps, batch and learning rate, and how one was tuned.

    Where two have these in common, the later one adds what sets it apart from the earlier: no name
    depends on what comes after it.

    Args:
        settings: options by name and number of steps, in the order of their first runs.
    """
    first: dict[str, Facts] = {}
    names = []
    for options, steps in settings:
        name = _base(options, steps)
        earlier = first.setdefault(name, options)
        keys = sorted(
            key for key in options.keys() | earlier.keys() if options.get(key) != earlier.get(key)
        )
        names.append(", ".join([name, *(_option(key, options.get(key, "unset")) for key in keys)]))
    return names


def _base(options: Facts, steps: int) -> str:
    parts = [str(options.get("backbone.name", "")), f"{steps} steps"]
    if "data.batch_size" in options:
        parts.append(f"batch {options['data.batch_size']}")
    if "optim.lr" in options:
        parts.append(f"AdamW {options['optim.lr']:g}")
    parts += [
        in_words(key, options[key], 0)
        for key in sorted(options)
        if key.startswith(PROTOCOL) and options[key] > 1
    ]
    if "study" in options:
        parts.append(f"tuned by {options['study']}")
    return ", ".join(filter(None, parts))


def plain_setting(options: Mapping[str, object]) -> str:
    """Return what a tuned setting shares with one that was not: matched dense runs are found by it."""
    return repr(sorted((key, repr(value)) for key, value in options.items() if key != "study"))
