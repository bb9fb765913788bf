"""The command that repeats a run: as typed, or derived from a configuration.

Values are written in Hydra's grammar, https://hydra.cc/docs/advanced/override_grammar/basic/, to
their last digit; commands are quoted for a POSIX shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moesuite.config.compose import compose
from moesuite.config.groups import group_choices
from moesuite.config.options import word
from moesuite.config.schema import RunConfig

FOLLOWING = 2  # passes: options that follow others, such as data.batch_size, need a second one


def reproduce(words: Sequence[str]) -> str:
    """Return the command of a run with these words."""
    return shlex.join(["python", "-m", "moesuite.run", *words])


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Return options as words of the command line."""
    return [f"{name}={word(value)}" for name, value in options.items()]


def command_of(config: RunConfig) -> str:
    """Return the command of a configuration: its choices, and each option that differs from them.

    A task or backbone outside the package is written option by option.

    Example:
        >>> command_of(compose("router=soft", "seed=1"))
        'python -m moesuite.run router=soft seed=1'
    """
    names = {
        "task": config.task.get("name"),
        "backbone": config.backbone.name,
        "router": config.router["name"],
    }
    others = ([f"seed={config.seed}"] if config.seed else []) + (
        [] if config.logger else ["logger=none"]
    )
    choices, base = list[str](), compose(*others).model_dump()
    for group, name in names.items():  # the task first: it has a backbone of its own
        name = _choice(group, str(name))
        known = name in group_choices()[group] or (group != "task" and ":" in str(name))
        if known and name != base[group]["name"]:
            choices.append(f"{group}={word(name)}")
            base = compose(*choices, *others).model_dump()
    words = [*choices, *others]
    for _ in range(FOLLOWING):
        if not (more := list(_differences(base, config.model_dump()))):
            break
        words += more
        base = compose(*words).model_dump()
    return reproduce(words)


def _choice(group: str, name: str) -> str:
    """Return what is typed for a name: for a subset of a task, as glue_mrpc, the task."""
    choices = group_choices()[group]
    if name in choices:
        return name
    return next((choice for choice in choices if name.startswith(f"{choice}_")), name)


def _differences(
    base: Mapping[str, Any], values: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Yield the words that change `base` into `values`: + adds an option, ~ removes one."""
    for key in sorted(base.keys() - values.keys()):
        if base[key] is None:  # Hydra deletes no option whose value is null
            yield f"{prefix}{key}=0"
        yield f"~{prefix}{key}"
    for key, value in values.items():
        old = base.get(key)
        if key not in base:
            yield f"+{prefix}{key}={word(value)}"
        elif isinstance(old, dict) and isinstance(value, dict):
            yield from _differences(old, value, f"{prefix}{key}.")
        elif old != value or isinstance(old, bool) != isinstance(value, bool):
            yield f"{prefix}{key}={word(value)}"
