"""Shell completion of verbs, options and values, for `moesuite` and `python -m moesuite.<verb>`.

    eval "$(moesuite completion bash)"                 in ~/.bashrc
    eval "$(moesuite completion zsh)"                  in ~/.zshrc, behind compinit
    moesuite completion fish | source                  in ~/.config/fish/config.fish

The script asks `python -m moesuite.completion words ...` for candidates: options follow the router
and the task that are typed already. Completion of `python` goes on as before for other modules.
"""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

from pydantic import Field

from moesuite.__main__ import VERBS
from moesuite.config.cli import FOLDER, Options, Words, flags_first, run_command
from moesuite.config.option_help import OptionRow, declared
from moesuite.config.run_options import run_options
from moesuite.discovery.names import (
    CONF,
    benchmark_files,
    router_names,
    task_families,
    task_files,
)
from moesuite.errors import UserError, unknown
from moesuite.list import KINDS, yaml_files

BASH = """\
_moesuite() {
  local words word
  words=("${COMP_WORDS[@]:0:COMP_CWORD+1}")
  # COMP_WORDBREAKS cuts words at = and :, readline replaces what is behind the last cut
  local line="${COMP_LINE:0:COMP_POINT}"
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  word="${words[${#words[@]}-1]}"
  local cut="${word%"${word##*[=:]}"}"
  [[ $COMP_WORDBREAKS != *=* ]] && cut=""
  COMPREPLY=()
  local candidate
  while IFS= read -r candidate; do
    [[ -n $candidate ]] && COMPREPLY+=("${candidate#"$cut"}")
  done < <(@PYTHON@ -m moesuite.completion words -- "${words[@]}" 2> /dev/null)
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -o default -F _moesuite moesuite python python3
"""
ZSH = """\
_moesuite() {
  local -a typed candidates
  typed=("${(@)words[1,CURRENT]}")
  candidates=("${(@f)$(@PYTHON@ -m moesuite.completion words -- "${(@)typed}" 2> /dev/null)}")
  candidates=(${candidates:#})
  if (( ${#candidates} )); then
    local -a open closed
    open=(${(M)candidates:#*=})
    closed=(${candidates:#*=})
    (( ${#open} )) && compadd -S '' -- $open
    (( ${#closed} )) && compadd -- $closed
  else
    _files
  fi
}
compdef _moesuite moesuite python python3
"""
FISH = """\
function __moesuite_candidates
  set -l words (commandline --tokenize --cut-at-cursor)
  set --append words (commandline --current-token --cut-at-cursor)
  @PYTHON@ -m moesuite.completion words -- $words 2> /dev/null
end
for program in moesuite python python3
  complete --command $program --arguments '(__moesuite_candidates)'
end
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
TAKES_RUN_OPTIONS = ("run", "profile", "tune", "data")
FLAGS = {verb: [FOLDER] for verb in ("profile", "tune", "data", "list")}
FLAGS["run"] = ["-m", "--multirun", FOLDER, "--cfg", "--hydra-help"]
SHOWN_BY_DATA = ("task", "backbone")  # tokenizers follow the backbone


class CompletionOptions(Options):
    """Options of the command."""

    shell: Annotated[list[str], Words("shell")] = Field([], description="bash, zsh or fish")


def candidates(words: Sequence[str]) -> list[str]:
    """Return what the last word may become.

    Args:
        words: of a command line up to the cursor, the program first; the last one may be empty.
    """
    verb, typed = _verb(words)
    if verb is None:
        return []
    last = typed[-1] if typed else ""
    if verb == "":  # the verb itself
        return [name for name in (*VERBS, "--help", "--version") if name.startswith(last)]
    option, is_value, _ = last.partition("=")
    if (option == FOLDER and is_value) or (len(typed) > 1 and typed[-2] == FOLDER):
        return []  # the shell completes folders
    rows = _rows(verb, typed[:-1])
    if not is_value:
        names = [_typed(row) for row in rows if "<" not in row.name]
        return sorted({name for name in [*names, *_words(verb)] if name.startswith(last)})
    choices = {row.name: row.choices for row in rows}.get(option, ())
    start = last.rpartition(",")[0] + "," if "," in last else f"{option}="  # values of a sweep
    return [text for choice in choices if (text := f"{start}{choice}").startswith(last)]


def _verb(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """Return the verb and the words behind it: "" where it is typed, None for other programs."""
    program = Path(words[0]).name if words else ""
    if program == "moesuite":
        return (words[1], words[2:]) if len(words) > 2 else ("", words[1:])
    if not program.startswith("python") or "-m" not in words[:-1]:
        return None, []
    place = words.index("-m") + 1
    module, rest = words[place], words[place + 1 :]
    if module == "moesuite" and rest:
        return (rest[0], rest[1:]) if len(rest) > 1 else ("", rest)
    name = module.removeprefix("moesuite.")
    return (name, rest) if rest and name != module and name in VERBS else (None, [])


def _typed(row: OptionRow) -> str:
    return row.name if row.name.startswith("-") else f"{row.name}="


def _words(verb: str) -> list[str]:
    """Return words without a value: flags and names."""
    names: dict[str, Iterable[str]] = {"list": KINDS, "completion": SCRIPTS}
    return [*FLAGS.get(verb, []), *names.get(verb, []), "--help"]


def _rows(verb: str, typed: Iterable[str]) -> list[OptionRow]:
    """Return the options of a verb; those of a run follow the router and the task in `typed`."""
    declared_here = [] if verb == "run" else declared(_declaration(verb))
    rows, folders = list[OptionRow](), _folders(typed)
    if verb in TAKES_RUN_OPTIONS:
        chosen = dict(word.split("=", 1) for word in typed if "=" in word)
        router = chosen.get("router", "token_choice")
        groups = run_options(
            router if router in router_names() else "token_choice",
            _family(chosen.get("task", "digits"), folders),
        )
        rows += chain.from_iterable(groups.values())
    rows += _choices(verb, folders)
    return [*declared_here, *(row for row in rows if verb != "data" or _is_of_data(row))]


def _is_of_data(row: OptionRow) -> bool:
    return row.name.split(".")[0] in SHOWN_BY_DATA


def _declaration(verb: str) -> type[Options]:
    """Return the options that the module of a verb declares: its one class of `Options`."""
    name = f"moesuite.{verb}"
    module = importlib.import_module(name)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{name}.__main__")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Options) and value is not Options
    ]
    return classes[0] if classes else Options


def _folders(typed: Iterable[str]) -> list[Path]:
    """Return the folders of `--config-dir` among words."""
    try:
        words = flags_first([*typed])
    except UserError:
        return []
    return [Path(word.partition("=")[2]) for word in words if word.startswith(f"{FOLDER}=")]


def _choices(verb: str, folders: Sequence[Path]) -> list[OptionRow]:
    """Return the options that take the name of something, also of your own in `folders`."""
    if verb not in (*TAKES_RUN_OPTIONS, "certify"):
        return []
    routers = router_names()
    names: dict[str, Iterable[str]] = {
        "router": routers if verb in ("run", "profile") else ["all", *routers]
    }
    if verb in TAKES_RUN_OPTIONS:
        names["task"] = sorted({**task_files(), **yaml_files(folders, "task")})
        for group in ("backbone", "optim", "logger"):
            names[group] = sorted(yaml_files([CONF, *folders], group))
    if verb == "run":
        names["benchmark"] = sorted(benchmark_files())
    if verb == "tune":
        names["tune"] = sorted(yaml_files([CONF], "tune"))
    return [OptionRow(name, choices=tuple(choices)) for name, choices in names.items()]


def _family(task: str, folders: Iterable[Path]) -> str:
    """Return the family of a task, from the defaults list of its YAML file."""
    path = {**yaml_files(folders, "task"), **task_files()}.get(task)
    text = path.read_text(encoding="utf-8") if path is not None else ""
    return next((family for family in task_families() if f"_{family}" in text), "vision")


def script(shell: str) -> str:
    """Return the completion script of a shell.

    Raises:
        UserError: for another shell.
    """
    if shell not in SCRIPTS:
        raise unknown("shell", shell, SCRIPTS, "moesuite completion bash")
    return SCRIPTS[shell].replace("@PYTHON@", shlex.quote(sys.executable))


def run(options: CompletionOptions) -> None:
    """Print a completion script.

    Raises:
        UserError: for no shell or several.
    """
    if len(options.shell) != 1:
        raise UserError("expected one shell; type for example moesuite completion bash")
    print(script(options.shell[0]), end="")


def main() -> None:
    """Run the command line; exits with 2 for bad input."""
    if sys.argv[1:2] == ["words"]:  # asked by the scripts
        words = sys.argv[2:]
        print("\n".join(candidates(words[1:] if words[:1] == ["--"] else words)))
        return
    run_command(run, CompletionOptions, __doc__)


if __name__ == "__main__":
    main()
