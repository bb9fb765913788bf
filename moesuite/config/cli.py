"""The one parser of all commands: `option=value` words, `--help`, errors, exit codes, Ctrl-C.

A command declares its options as fields of an `Options` model. Name, type, range, default and
meaning stand there and nowhere else; parsing, `--help` and shell completion follow:

    class ServeOptions(Options):
        folder: str = Field("site", description="folder of the pages")
        port: int = Field(8000, ge=1, le=65535, description="port of the server")
        sizes: list[PositiveInt] = Field([8, 64], description="numbers of experts")     # sizes=8,64
        check: Annotated[bool, Flag()] = Field(False, description="only read")          # --check
        options: Annotated[dict[str, Any], Prefix("router.")] = Field({}, …)   # router.k=2
        files: Annotated[list[Path], Words("record")] = Field([], …)           # no option=
        others: Annotated[list[str], Rest("option of a run")] = Field([], …)  # what is left

    def serve(options: ServeOptions) -> int | None: ...  # its exit code; None: 0

    def main() -> None:
        run_command(serve, ServeOptions, __doc__, codes={1: "a record cannot be shown"})

What fields cannot say alone (two options that exclude each other) `serve` checks first, and raises
`UserError`. Imports that are slow belong into `serve`, inside `with importing():`. Tests parse with
`parse(ServeOptions, words)`. The help starts with the module's docstring: what the command does,
one or two examples, and no list of options. A default of None needs `examples=[…]`, which errors
suggest. No torch.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from moesuite.config.option_help import Flag as Flag
from moesuite.config.option_help import Prefix as Prefix
from moesuite.config.option_help import Rest as Rest
from moesuite.config.option_help import Words as Words
from moesuite.config.option_help import declared, flag_of, mark_of, row, rows, typed
from moesuite.config.options import Section, checked, example_of
from moesuite.errors import RunFailed, UnknownOption, UserError, nearest, unknown

OptionsType = TypeVar("OptionsType", bound="Options")
BAD_INPUT, INTERRUPTED = 2, 130  # exit codes
CODES = {0: "success", BAD_INPUT: "bad input or a failure, in one line", INTERRUPTED: "Ctrl-C"}
HELP = ("-h", "--help")
Format = Literal["table", "markdown", "json"]  # of what a command prints
FOLDER = "--config-dir"  # of your own task/*.yaml, backbone/*.yaml, ...
# flags of Hydra that take a value, by each of their names
VALUED = {FOLDER: FOLDER, "-cd": FOLDER, "--cfg": "--cfg", "-c": "--cfg"}
VALUED |= {"--package": "--package", "-p": "--package"}
FULL_ERROR = "HYDRA_FULL_ERROR"  # set to 1, errors come with their traceback


class Options(Section):
    """Base of the options of a command."""


def run_command(
    run: Callable[[OptionsType], int | None],
    options: type[OptionsType],
    doc: str | None,
    *,
    codes: Mapping[int, str] = CODES,
    notes: str = "",
    interrupted: str = "interrupted",
) -> None:
    """Run a command on the words of the command line; exits with its code, 2 or 130.

    Args:
        run: the command; None is exit code 0, without an exit.
        options: what it takes.
        doc: start of the help.
        codes: meaning of exit codes beside those of every command.
        notes: end of the help.
        interrupted: printed after Ctrl-C, for example how to resume.
    """
    words = sys.argv[1:]
    with exits(interrupted):
        if set(HELP) & set(words):
            print(help_text(options, doc, codes, notes))
            return
        try:
            code = run(parse(options, words))
        except UnknownOption as error:  # of a run: those of the command look like it, too
            names = (option.name for option in declared(options))
            raise error.among(name for name in names if not name.startswith("<")) from None
        if code is not None:
            sys.exit(code)


@contextmanager
def exits(interrupted: str = "interrupted") -> Iterator[None]:
    """Turn bad input and failures into one line and exit code 2, and Ctrl-C into 130.

    With HYDRA_FULL_ERROR=1, bad input comes with its traceback.
    """
    traceback = os.environ.get(FULL_ERROR) == "1"
    try:
        yield
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (UserError, RunFailed, OSError) as error:
        if traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(INTERRUPTED)


def flags_first(words: Sequence[str]) -> list[str]:
    """Return flags, each with its value as one word, then options; Hydra reads no other order.

    Raises:
        UserError: for `--config-dir` without a folder.
    """
    flags, options, rest = list[str](), list[str](), iter(words)
    for word in rest:
        name, has_value, value = word.partition("=")
        if name in VALUED:
            value = value if has_value else next(rest, "")
            if not value:
                raise UserError(f"{word}: expected a value; type for example {FOLDER} conf")
            flags.append(f"{VALUED[name]}={value}")
        else:
            (flags if word.startswith("-") else options).append(word)
    return [*flags, *options]


def parse(options: type[OptionsType], words: Sequence[str]) -> OptionsType:
    """Read the words of a command.

    Raises:
        UserError: for an unknown option, or a value of the wrong type or outside its range.
    """
    marked = {name: mark_of(field) for name, field in options.model_fields.items()}
    values = dict[str, Any]()
    for text in flags_first(words):
        name, has_value, value = text.partition("=")
        place = _place(text, marked)
        mark = marked.get(place)
        if mark is None and place in marked:
            values[place] = _value(options.model_fields[place], value)
            if not has_value:
                raise UserError(
                    f"{text}: expected a value; type for example {example(options, name)}"
                )
        elif isinstance(mark, Flag):
            values[place] = True
        elif isinstance(mark, Prefix):
            as_text = get_args(options.model_fields[place].annotation)[1] is str
            inner = value if as_text else yaml.safe_load(value)
            values.setdefault(place, {})[name.removeprefix(mark.prefix)] = inner
        elif isinstance(mark, Words | Rest):
            values.setdefault(place, []).append(text)
        else:
            raise _unknown(options, text)
    return checked(options, values, typed=typed)


def _place(text: str, marked: Mapping[str, Any]) -> str:
    """Return the field that takes a word; empty if none does."""
    name, has_value, _ = text.partition("=")
    if name in marked and marked[name] is None:
        return name
    for field, mark in marked.items():
        if isinstance(mark, Flag) and text == flag_of(field):
            return field
        if isinstance(mark, Prefix) and has_value and name.startswith(mark.prefix):
            return field
    for field, mark in marked.items():
        if isinstance(mark, Rest) or (
            isinstance(mark, Words)
            and not text.startswith("-")
            and (not has_value or Path(text).exists())  # a path may hold =
        ):
            return field
    return ""


def _value(field: FieldInfo, text: str) -> Any:
    """Return what pydantic converts: parts of a list, None for null where None is allowed."""
    kinds = [field.annotation, *get_args(field.annotation)]
    if text == "null" and type(None) in kinds:
        return None
    if list in (get_origin(kind) for kind in kinds):
        return _parts(text)
    return text


def _parts(text: str) -> list[str]:
    """Return what stands between commas; a file or folder may have some in its name."""
    parts = text.split(",")
    names = [parts[0], *(",".join(parts[:count]) for count in range(len(parts), 1, -1))]
    name = next((name for name in names if os.path.exists(name)), parts[0])  # noqa: PTH110
    rest = text[len(name) + 1 :]
    return [part for part in (name, *(_parts(rest) if rest else ())) if part]


def _unknown(options: type[Options], text: str) -> UserError:
    names = [option.name for option in declared(options) if not option.name.startswith("<")]
    name = text.partition("=")[0]
    if not names:
        return UserError(f"unknown option {name!r}; this command has none but --help")
    return unknown("option", name, names, example(options, nearest(name, names)[0]))


def example(options: type[Options], name: str) -> str:
    """Return a word that sets an option, for errors: to its example or default."""
    field = options.model_fields.get(name)
    if field is None or mark_of(field) is not None:
        return name if name.startswith("--") else f"{name}=<value>"
    return f"{name}={typed(example_of(field))}"


def help_text(
    options: type[Options], doc: str | None, codes: Mapping[int, str] = CODES, notes: str = ""
) -> str:
    """Return the help of a command: what it does, its options, its exit codes."""
    exit_codes = "\n".join(
        row(str(code), text) for code, text in sorted({**CODES, **codes}.items())
    )
    parts = [
        (doc or "").strip(),
        f"Options:\n{rows(declared(options))}",
        f"Exit codes:\n{exit_codes}",
        notes.strip(),
    ]
    return "\n\n".join(part for part in parts if part)


@contextmanager
def importing() -> Iterator[None]:
    """Import without garbage collection, now and later: 2 of 8 seconds of a short command."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        atexit.register(gc.freeze)  # Python collects once more before it ends
