"""Groups of choices on the command line (tasks, routers, ...), registered with Hydra. No torch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from moesuite.config.cli import FOLDER, flags_first
from moesuite.config.options import word
from moesuite.config.run_options import trainer_options
from moesuite.discovery.names import (
    CONF,
    family_defaults,
    plugin_refusal,
    router_defaults,
    router_names,
    task_clash,
    task_families,
    task_files,
)
from moesuite.errors import UserError, nearest, unknown

GROUPS = ("task", "router", "backbone", "optim", "logger")
OUTSIDE = {
    "router": ", or router=my_file:MyRouter for your own",
    "backbone": ", or backbone=timm:<name>",
}


def register(arguments: Sequence[str]) -> None:
    """Register tasks, routers, backbones and Trainer options with Hydra, also user code.

    Raises:
        UserError: for a choice that does not exist, with the nearest names.
    """
    _register_package()
    folders = config_folders(arguments)
    for group, choice in _choices(arguments):
        if group == "router" and ":" not in choice and (error := plugin_refusal("routers", choice)):
            raise error
        if group == "task" and (error := task_clash(choice)):
            raise error
        _register_choice(group, choice, folders)


@cache
def _register_package() -> None:
    """Register what the package offers, once a process: reading takes longer than composing."""
    store = ConfigStore.instance().store
    for name in router_names():
        store(name, {"name": name, **router_defaults(name)}, "router", "router")
    for name, path in task_files().items():
        store(name, OmegaConf.load(path), "task", "_global_")
    for family in task_families():
        store(
            f"_{family}",
            {"family": family, "recipe": {}, **family_defaults(family)},
            "task",
            "task",
        )
    store("default", trainer_options(), "trainer", "trainer")


def _register_choice(group: str, choice: str, folders: list[Path]) -> None:
    known = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    known |= set(group_choices()[group])
    if choice in known:
        return
    if group == "router" and ":" in choice:
        _store_under_path(group, choice, {"name": choice, **router_defaults(choice)})
    elif group == "backbone" and ":" in choice:
        node = {"name": choice, "model": choice, "pretrained": False, "seed": "${seed}"}
        model = choice.partition(":")[2]
        if "/" in model:  # a folder or hub id; other names are types of model
            node["tokenizer"] = model
        _store_under_path(group, choice, {**node, "kwargs": {}})
    else:
        example = f"{group}={nearest(choice, known)[0]}{OUTSIDE.get(group, '')}"
        raise unknown(group, choice, known, example)


def _store_under_path(group: str, choice: str, node: dict[str, Any]) -> None:
    """Store a choice that may hold slashes under its folders, as Hydra will look it up."""
    parent, _, name = choice.rpartition("/")
    folders = [part for part in (group, parent.strip("/")) if part]
    ConfigStore.instance().store(name, node, "/".join(folders), group)


def group_choices() -> dict[str, list[str]]:
    """Return the names that each group offers."""
    files = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in GROUPS}
    return {**files, "router": router_names(), "task": sorted(task_files())}


def config_folders(arguments: Sequence[str]) -> list[Path]:
    """Return the folders of YAML files: of the package, then those of `--config-dir`.

    Raises:
        UserError: for a folder that does not exist.
    """
    folders = [CONF]
    for argument in flags_first(arguments):
        flag, _, value = argument.partition("=")
        if flag == FOLDER:
            folder = Path(value)
            if not folder.is_dir():
                raise UserError(
                    f"{FOLDER} {folder}: no such folder;"
                    " allowed: a folder with task/, backbone/, ..."
                )
            folders.append(folder)
    return folders


def _choices(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (group, choice) for every choice in the words, each value of a sweep by itself."""
    for override in _parsed(arguments):
        if override.key_or_group == "trainer":  # its options are one by one
            raise UserError(
                f"{override.input_line}: expected one option of Lightning's Trainer;"
                " type for example trainer.max_steps=10"
            )
        if override.key_or_group in GROUPS:
            value = override.value()
            values = getattr(value, "list", None) or (value if isinstance(value, list) else [value])
            for choice in values:
                yield override.key_or_group, str(choice)


def _parsed(arguments: Sequence[str]) -> list[Override]:
    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    try:
        return OverridesParser.create().parse_overrides(words)
    except HydraException:
        raise ungrammatical(next(word for word in words if not _is_grammatical(word))) from None


def _is_grammatical(word: str) -> bool:
    try:
        OverridesParser.create().parse_overrides([word])
    except HydraException:
        return False
    return True


def ungrammatical(typed: str) -> UserError:
    """Return the error for a word that Hydra cannot parse, with one that it can."""
    option, equals, value = typed.partition("=")
    if not option or not equals:
        return UserError(f"{typed}: expected option=value; type for example seed=0")
    text = value.strip("'") if value.count("'") == 1 else value  # a quote that is not closed
    example = f"{option}={word(text)}"
    return UserError(
        f"{typed}: the value does not follow Hydra's grammar; expected plain words, or quotes"
        f" around the value; type for example {shell_quoted(example)}"
    )


def shell_quoted(text: str) -> str:
    """Quote a word for a POSIX shell: in double quotes where nothing in them has a meaning."""
    is_plain = "'" in text and not re.search(r'["$`\\!]', text)
    return f'"{text}"' if is_plain else shlex.quote(text)
