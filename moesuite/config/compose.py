"""From words on the command line to a checked configuration. Imports no torch, so that `--help` is fast."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from moesuite.config.options import checked
from moesuite.config.schema import NAMED, RunConfig
from moesuite.discovery.names import (
    CONF,
    family_defaults,
    router_defaults,
    router_names,
    task_families,
    task_files,
)
from moesuite.discovery.signature import signature_defaults
from moesuite.errors import UserError, nearest, unknown

GROUPS = ("task", "router", "backbone", "optim", "logger")
OPEN = ("backbone.kwargs", "task.recipe", "logger.csv")  # take other keys: +option.key=
BUILT_HERE = ("callbacks", "logger", "plugins", "use_distributed_sampler")  # set by `train`


def compose(*overrides: str) -> RunConfig:
    """Compose a configuration from the same words as on the command line, `--config-dir=<folder>` among them.

    Raises:
        UserError: for an unknown or mistyped option, or a value outside its range.

    Example:
        >>> compose("task=digits", "router=soft", "seed=1").seed
        1
    """
    return to_config(_composed(understood(overrides)))


def composed(*overrides: str) -> DictConfig:
    """Compose like `compose`, and leave the check to `varied`: many runs that differ in values alone take less time."""
    return _composed(understood(overrides))


def varied(base: DictConfig, options: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of `composed` words with other values of dotted options, as if they stood behind them.

    Raises:
        UserError: for an option that is not there, or a value outside its range.
    """
    changed = copy.deepcopy(base)
    for name, value in options.items():
        try:
            OmegaConf.update(changed, name, value, merge=False)
        except OmegaConfBaseException:
            raise unknown_option(name) from None
    return to_config(changed)


def understood(words: Sequence[str]) -> list[str]:
    """Return the words as Hydra can read them; `upcycle=<library>:<name>` names a pretrained backbone too.

    Understood words are understood as they are: they stand in records, and start the processes of
    multi-device runs.

    Raises:
        UserError: where another backbone is named beside it, or several are to be upcycled in one
            sweep.
    """
    given = [word.partition("=")[2].strip("'\"") for word in words if word.startswith("upcycle=")]
    if not given or not given[-1].startswith(NAMED):
        return quoted(words)
    backbone, pretrained = f"backbone={given[-1]}", "backbone.pretrained=true"
    if "," in given[-1]:
        raise UserError(
            f"upcycle={given[-1]}: allowed is one pretrained model; start a sweep for each"
        )
    if other := [word for word in words if word.startswith("backbone=") and word != backbone]:
        raise UserError(
            f"{other[0]} beside upcycle={given[-1]}: allowed is one of them; what is upcycled is the backbone"
        )
    return quoted([*words, *(word for word in (backbone, pretrained) if word not in words)])


def quoted(words: Sequence[str]) -> list[str]:
    """Quote values that look like calls and are names, such as `task.names=MTEB(eng, v2)`, for Hydra's grammar."""
    functions = create_functions().functions
    found = [re.fullmatch(r"([\w./]+)=(\w+)(\(.*\))", word) for word in words]
    return [
        f"{match[1]}='{match[2]}{match[3]}'" if match and match[2] not in functions else word
        for word, match in zip(words, found, strict=True)
    ]


def options_text(overrides: Sequence[str]) -> str:
    """Return the composed configuration as YAML, for `--help`."""
    return OmegaConf.to_yaml(_composed(overrides), resolve=True)


def _composed(overrides: Sequence[str]) -> DictConfig:
    register(overrides)
    words = [word for word in overrides if not word.startswith("-")]
    if folders := [f"file://{folder.resolve()}" for folder in _config_folders(overrides)[1:]]:
        words.append(f"hydra.searchpath=[{','.join(folders)}]")
    try:
        with initialize_config_module("moesuite.config.conf", version_base=None):
            return hydra_compose("config", words)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise explain(error) from None


def to_config(composed: DictConfig) -> RunConfig:
    """Check a composed configuration.

    Raises:
        UserError: for a value outside its range, or an option that another one refers to.
    """
    try:
        values = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise explain(error) from None
    assert isinstance(values, dict)
    return checked(RunConfig, {str(key): value for key, value in values.items() if key != "hydra"})


def register(arguments: Sequence[str]) -> None:
    """Make tasks, routers, backbones and Trainer options known to Hydra, also those that only `arguments` name.

    Raises:
        UserError: for a choice that does not exist, with the nearest names.
    """
    _register_package()
    folders = _config_folders(arguments)
    for group, choice in _choices(arguments):
        _register_choice(group, choice, folders)


@cache
def _register_package() -> None:
    """Make what the package offers known, once in a process: reading it takes longer than composing."""
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


def trainer_options() -> dict[str, Any]:
    """Return every option of Lightning's Trainer that is a plain value, read from its source without importing it."""
    spec = importlib.util.find_spec("lightning")
    assert spec is not None and spec.origin is not None
    source = Path(spec.origin).parent / "pytorch" / "trainer" / "trainer.py"
    options = signature_defaults(source, "Trainer", skip=1)
    return {name: value for name, value in options.items() if name not in BUILT_HERE}


def _register_choice(group: str, choice: str, folders: list[Path]) -> None:
    known = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    known |= set(group_choices()[group])
    if choice in known:
        return
    if group == "router" and ":" in choice:
        _store_under_path(group, choice, {"name": choice, **router_defaults(choice)})
    elif group == "backbone" and ":" in choice:
        model = choice.partition(":")[2]
        own = (
            {"tokenizer": model} if "/" in model else {}
        )  # a folder or hub id; other names are types of model
        node = {
            "name": choice,
            "model": choice,
            "pretrained": False,
            "seed": "${seed}",
            "kwargs": {},
            **own,
        }
        _store_under_path(group, choice, node)
    else:
        outside = {
            "router": ", or router=my_file:MyRouter for your own",
            "backbone": ", or backbone=timm:<name>",
        }
        raise unknown(
            group, choice, known, f"{group}={nearest(choice, known)[0]}{outside.get(group, '')}"
        )


def _store_under_path(group: str, choice: str, node: dict[str, Any]) -> None:
    """Store a choice that may hold slashes under its folders, as Hydra will look it up."""
    parent, _, name = choice.rpartition("/")
    folders = [part for part in (group, parent.strip("/")) if part]
    ConfigStore.instance().store(name, node, "/".join(folders), group)


def group_choices() -> dict[str, list[str]]:
    """Return the names that each group offers."""
    files = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in GROUPS}
    return {**files, "router": router_names(), "task": sorted(task_files())}


def _config_folders(arguments: Sequence[str]) -> list[Path]:
    folders = [CONF]
    for index, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if flag in ("--config-dir", "-cd"):
            folder = Path(value or (arguments[index + 1] if index + 1 < len(arguments) else ""))
            if not folder.is_dir():
                raise UserError(
                    f"--config-dir {folder}: no such folder; allowed: a folder with task/, backbone/, ..."
                )
            folders.append(folder)
    return folders


def _choices(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (group, choice) for every group that the words choose, each value of a sweep by itself."""
    for override in _overrides(arguments):
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


def _overrides(arguments: Sequence[str]) -> list[Override]:
    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    try:
        return OverridesParser.create().parse_overrides(words)
    except HydraException as error:
        raise UserError(
            f"{str(error).splitlines()[0]}; allowed: option=value; see --help"
        ) from None


def explain(error: Exception) -> UserError:
    """Turn an error of Hydra's into one line with the nearest options."""
    text = f"{error}\n{error.__cause__ or ''}"
    option = re.search(r"Could not override '([^']+)'", text)
    key = re.search(r"Key '([^']+)' is not in struct\n\s+full_key: (\S+)", text)
    if option is not None and key is not None and key[2].startswith(f"{option[1]}."):
        return unknown_option(key[2])  # a key of a mapping: option={key: ...}
    if match := option or key:
        return unknown_option(match[1])
    if merged := re.match(r"Error merging override ([\w.]+)=(.*)", text):
        return UserError(
            f"{merged[1]}={merged[2]}: expected a mapping; type for example +{merged[1]}.<name>=1"
        )
    if several := re.match(r"Ambiguous value for argument '([^=]+)=([^']+)'", text):
        return UserError(
            f"{several[1]}={several[2]}: several values; type -m for a sweep over them,"
            f" or {several[1]}=[{several[2]}] for a list"
        )
    return UserError(" ".join(line.strip() for line in str(error).splitlines() if line.strip()))


def unknown_option(name: str) -> UserError:
    """Return the error for a dotted option that does not exist."""
    options = all_options()
    section = name.rpartition(".")[0]
    new = f"; to add it type for example +{name}=<value>" if section in OPEN else ""
    return UserError(
        f"unknown option {name!r}; nearest: {', '.join(nearest(name, options)[:3])}{new};"
        " all options: --help"
    )


def all_options() -> list[str]:
    """Return every dotted option of the default run."""
    GlobalHydra.instance().clear()
    with initialize_config_module("moesuite.config.conf", version_base=None):
        return list(_dotted(OmegaConf.to_container(hydra_compose("config"), resolve=False)))


def _dotted(values: Any, prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
