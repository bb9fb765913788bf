"""Names of settings and options, which stay when a run is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moesuite.leaderboard.ingest.facts import PROTOCOL, Facts
from moesuite.leaderboard.ingest.versions import in_words

# options without effect at this value, and first protocol versions
NEUTRAL = {"tile_depth": 1, "renormalise": False, f"{PROTOCOL}router": 1, f"{PROTOCOL}decoder": 1}
DIGITS = 8  # of the hash of code from outside the package


def options_text(options: Facts) -> str:
    """Return the options of a contestant as typed, without those that have no effect."""
    names = [key for key, value in options.items() if key != "router" and NEUTRAL.get(key) != value]
    names.sort(key=lambda key: (key.startswith(("router.", "own.")), key))
    return ", ".join(_option(key, options[key]) for key in names)


def _option(key: str, value: object) -> str:
    if key.startswith(PROTOCOL) and isinstance(value, int):
        return in_words(key, value, 0)
    if key.startswith("own.") and isinstance(value, str):
        return f"{key}={value[:DIGITS]}"
    if isinstance(value, Mapping):
        return f"{key}={{{','.join(f'{name}:{inner}' for name, inner in value.items())}}}"
    return f"{key}={value}"


def setting_names(settings: Sequence[tuple[Facts, int]]) -> list[str]:
    """Return the names of settings: backbone, steps, batch, learning rate, and what tuned them.

    Where two have these in common, the later one adds the options in which it differs from the
    earlier one, so that no name depends on later runs.

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
    """Return a setting without its study, by which a tuned one finds its matched dense runs."""
    return repr(sorted((key, repr(value)) for key, value in options.items() if key != "study"))
