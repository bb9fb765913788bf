"""From the words of a command line to a checked configuration. No torch: `--help` is fast."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import create_functions
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from moesuite.config.cli import flags_first
from moesuite.config.groups import config_folders, register, shell_quoted, ungrammatical
from moesuite.config.options import checked, word
from moesuite.config.schema import NAMED, RunConfig
from moesuite.errors import UnknownOption, UserError

# a split of each role, of which a task need not declare that for validation
SPLITS = re.compile(r"task\.splits(\.val=.*|=\{(\s*(train|val|test)\s*:[^,{}]*(,|(?=\})))*\})")
# take other keys: +option.key=
OPEN = ("backbone.kwargs", "task.recipe", "task.sets", "logger.csv")


def compose(*overrides: str) -> RunConfig:
    """Compose a configuration from the words of a command line, `--config-dir=<folder>` included.

    Raises:
        UserError: for an unknown or mistyped option, or a value outside its range.

    Example:
        >>> compose("task=digits", "router=soft", "seed=1").seed
        1
    """
    return to_config(_composed(understood(overrides)))


def composed(*overrides: str) -> DictConfig:
    """Compose as `compose` does, without the check: `varied` checks each of many runs."""
    return _composed(understood(overrides))


def varied(base: DictConfig, options: Mapping[str, Any]) -> RunConfig:
    """Return a composed configuration with other values of dotted options, checked.

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
    """Return the words in Hydra's grammar and order, with the backbone of `upcycle=<model>`.

    Applied twice, nothing changes: these words are recorded, and start the processes of
    multi-device runs.

    Raises:
        UserError: for a value without an option, another backbone beside the upcycled one, or
            several models to upcycle in one sweep.
    """
    words = flags_first(words)
    if nameless := [word for word in words if word.startswith("=")]:
        raise ungrammatical(nameless[0])
    upcycled = [word.partition("=")[2] for word in words if word.startswith("upcycle=")]
    model = upcycled[-1].strip("'\"") if upcycled else ""
    if not model.startswith(NAMED):
        return quoted(words)
    backbone, pretrained = f"backbone={model}", "backbone.pretrained=true"
    if "," in model:
        raise UserError(f"upcycle={model}: allowed is one pretrained model; start a sweep for each")
    if other := [word for word in words if word.startswith("backbone=") and word != backbone]:
        raise UserError(
            f"{other[0]} beside upcycle={model}: allowed is one of them;"
            " the upcycled model is the backbone"
        )
    return quoted([*words, *(word for word in (backbone, pretrained) if word not in words)])


def _added(word: str) -> str:
    """Return a word that sets a validation split so that Hydra adds the option where it is not."""
    return f"++{word}" if SPLITS.fullmatch(word) else word


def quoted(words: Sequence[str]) -> list[str]:
    """Quote names that look like calls in Hydra's grammar, such as `task.names=MTEB(eng, v2)`.

    Splits that a task does not declare are added.
    """
    words = list(map(_added, words))
    functions = create_functions().functions
    calls = [re.fullmatch(r"([\w./]+)=(\w+)(\(.*\))", word) for word in words]
    return [
        f"{match[1]}='{match[2]}{match[3]}'" if match and match[2] not in functions else word
        for word, match in zip(words, calls, strict=True)
    ]


def configuration(words: Sequence[str]) -> dict[str, Any]:
    """Return the value of every dotted option of a composed configuration, for `--help`.

    Raises:
        UserError: for an unknown choice or option.
    """
    composed = _composed(words)
    return dict(_dotted(_resolved(composed)))


def _composed(overrides: Sequence[str]) -> DictConfig:
    register(overrides)
    words = [word for word in overrides if not word.startswith("-")]
    if folders := [f"file://{folder.resolve()}" for folder in config_folders(overrides)[1:]]:
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
    values = _resolved(composed)
    return checked(RunConfig, {str(key): value for key, value in values.items() if key != "hydra"})


def _resolved(composed: DictConfig) -> dict[Any, Any]:
    """Return the values of a composed configuration.

    A tokenizer that no backbone names is missing, so that tasks can tell; here it is the default.
    """
    try:
        values = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise explain(error) from None
    assert isinstance(values, dict)
    if OmegaConf.is_missing(composed.get("backbone", {}), "tokenizer"):
        values["backbone"]["tokenizer"] = "byte"
    return values


def explain(error: Exception) -> UserError:
    """Turn an error of Hydra's into one line with the nearest options."""
    text = f"{error}\n{error.__cause__ or ''}"
    option = re.search(r"Could not override '([^']+)'", text)
    key = re.search(r"Key '([^']+)' is not in struct\n\s+full_key: (\S+)", text)
    if option is not None and key is not None and key[2].startswith(f"{option[1]}."):
        return unknown_option(key[2])  # a key of a mapping: option={key: ...}
    if match := option or key:
        return unknown_option(match[1])
    if no_value := re.match(r"Error parsing override '(.*)'\s+missing EQUAL", text):
        return ungrammatical(no_value[1])
    if merged := re.match(r"Error merging override ([\w.]+)=(.*)", text):
        return UserError(
            f"{merged[1]}={merged[2]}: expected a mapping; type for example +{merged[1]}.<name>=1"
        )
    if several := re.match(r"Ambiguous value for argument '([^=]+)=([^']+)'", text):
        name, value = several[1], several[2]
        return UserError(
            f"{name}={value}: several values; type -m for a sweep over them, {name}=[{value}] for a"
            f" list, or {shell_quoted(f'{name}={word(value)}')} for a text with commas"
        )
    return UserError(" ".join(line.strip() for line in str(error).splitlines() if line.strip()))


def unknown_option(name: str) -> UnknownOption:
    """Return the error for a dotted option that does not exist."""
    options = all_options()
    section = name.rpartition(".")[0]
    new = f"; to add it type for example +{name}=<value>" if section in OPEN else ""
    return UnknownOption(name, options, f"{new}; all options: --help")


def all_options() -> list[str]:
    """Return every dotted option of the default run."""
    register([])
    GlobalHydra.instance().clear()
    with initialize_config_module("moesuite.config.conf", version_base=None):
        return list(dict(_dotted(OmegaConf.to_container(hydra_compose("config"), resolve=False))))


def _dotted(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
