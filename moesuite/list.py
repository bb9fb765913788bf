"""List what can be chosen by name: routers, tasks, backbones, benchmarks and search spaces.

    moesuite list                     everything, one line each
    moesuite list routers             one kind, with its options
    python -m moesuite.list tasks

What an option means: python -m moesuite.run router=<name> task=<name> --help
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field

from moesuite.config.cli import FOLDER, Options, Rest, Words, run_command
from moesuite.config.options import word
from moesuite.discovery.names import (
    CONF,
    benchmark_files,
    family_defaults,
    plugin_refusal,
    router_defaults,
    router_names,
    source_of,
    summary,
    task_clash,
    task_families,
    task_files,
)
from moesuite.discovery.plugins import plugins
from moesuite.errors import UserError, unknown

Kind = Literal["routers", "tasks", "backbones", "benchmarks", "spaces"]
KINDS: tuple[Kind, ...] = ("routers", "tasks", "backbones", "benchmarks", "spaces")
WIDTH = 100  # of a line


@dataclass(frozen=True)
class Entry:
    """One name that can be chosen, what it is in one line, and its options as typed."""

    name: str
    summary: str
    options: tuple[str, ...] = ()


class ListOptions(Options):
    """Options of the command."""

    kinds: Annotated[list[str], Words("kind")] = Field(
        [], description=f"any of {', '.join(KINDS)}; default: all"
    )
    folders: Annotated[list[str], Rest(f"{FOLDER}=<folder>")] = Field(
        [], description="folder of your own task/*.yaml and backbone/*.yaml"
    )


def entries(kind: Kind, folders: Sequence[Path] = ()) -> list[Entry]:
    """Return what there is of a kind, by name.

    Args:
        kind: what is listed.
        folders: of `--config-dir`, which add tasks and backbones.
    """
    if kind == "routers":
        return [
            Entry(name, summary(*source_of(name)), _typed(router_defaults(name)))
            for name in router_names()
        ]
    if kind == "tasks":
        files = {**task_files(), **yaml_files(folders, "task")}
        return [Entry(name, _comment(path)) for name, path in sorted(files.items())]
    if kind == "benchmarks":
        files = benchmark_files()
        return [Entry(name, _comment(path, "What: ")) for name, path in sorted(files.items())]
    files = yaml_files([CONF], "tune")
    if kind == "backbones":
        files = yaml_files([CONF, *folders], "backbone")
    return [
        Entry(name, _comment(path), _typed(yaml.safe_load(path.read_text(encoding="utf-8"))))
        for name, path in sorted(files.items())
    ]


def yaml_files(folders: Iterable[Path], group: str) -> dict[str, Path]:
    """Return the YAML files of a group by name."""
    paths = [path for folder in folders for path in (folder / group).glob("*.yaml")]
    return {path.stem: path for path in paths}


def _typed(options: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(
        f"{name}={value if isinstance(value, str) else word(value)}"
        for name, value in options.items()
    )


def _comment(path: Path, start: str = "") -> str:
    """Return the first comment of a YAML file, without a directive of Hydra's."""
    lines = [
        line[1:].strip()
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    ]
    comment = next((line for line in lines if not line.startswith("@package")), "")
    return comment.removeprefix(start)


def text(kinds: Iterable[Kind], with_options: bool, folders: Sequence[Path] = ()) -> str:
    """Return the lines of kinds; the options of tasks follow by family."""
    blocks = []
    for kind in kinds:
        lines, listed = [f"{kind}:"], entries(kind, folders)
        column = max(len(entry.name) for entry in listed) + 2
        for entry in listed:
            line = f"  {entry.name:{column}}{entry.summary}"
            lines.append(
                line if len(line) <= WIDTH else line[: WIDTH - 4].rsplit(" ", 1)[0] + " ..."
            )
            if with_options and entry.options:
                lines.append(_indented(" ".join(entry.options)))
        if with_options and kind == "tasks":
            lines.append("options, by family:")
            for family in sorted(task_families()):
                options = [f"task.{option}" for option in _typed(family_defaults(family))]
                lines += [f"  {family}", _indented(" ".join(options))]
        lines += [f"  not usable: {error}" for error in _refused(kind)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _refused(kind: Kind) -> list[UserError]:
    """Return why plugins of a kind cannot be used."""
    if kind not in ("routers", "tasks"):
        return []
    errors = [plugin_refusal(kind, name) for name in plugins(kind)]
    errors += [task_clash(name) for name in task_files()] if kind == "tasks" else []
    return [error for error in errors if error is not None]


def _indented(text: str) -> str:
    space = " " * 6
    return textwrap.fill(text, WIDTH, initial_indent=space, subsequent_indent=space)


def run(options: ListOptions) -> None:
    """Print the list.

    Raises:
        UserError: for an unknown kind.
    """
    for kind in options.kinds:
        if kind not in KINDS:
            raise unknown("kind", kind, KINDS, "moesuite list routers")
    for typed in options.folders:
        if not typed.startswith(f"{FOLDER}="):
            raise unknown("option", typed, [FOLDER], f"{FOLDER} conf")
    folders = []
    if options.folders:  # Hydra takes long to import
        from moesuite.config.groups import config_folders

        folders = config_folders(options.folders)[1:]
    chosen = [kind for kind in KINDS if kind in options.kinds]
    print(text(chosen or KINDS, with_options=bool(chosen), folders=folders))


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    run_command(run, ListOptions, __doc__)


if __name__ == "__main__":
    main()
