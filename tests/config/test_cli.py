"""The parser of all commands: declarations, values, help, errors and exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, PositiveInt

from moesuite.config.cli import Flag, Options, Prefix, Rest, Words, parse, run_command
from moesuite.config.options import values_of
from moesuite.errors import RunFailed, UnknownOption, UserError


class ServeOptions(Options):
    folder: str = Field("site", description="folder of the pages")
    port: int = Field(8000, ge=1, le=65535, description="port of the server")
    sizes: list[PositiveInt] = Field([8, 64], description="numbers of experts")
    share: float | None = Field(None, gt=0, lt=1, description="a share", examples=[0.5])
    style: Literal["table", "json"] = Field("table", description="how it is printed")
    check: Annotated[bool, Flag()] = Field(False, description="only read")
    options: Annotated[dict[str, Any], Prefix("router.")] = Field({}, description="of the router")
    files: Annotated[list[Path], Words("record")] = Field([], description="files of records")


class TuneOptions(Options):
    trials: int = Field(30, ge=1, description="number of trials")
    space: Annotated[dict[str, str], Prefix("space.")] = Field({}, description="parameters")
    run: Annotated[list[str], Rest("option")] = Field([], description="options of every run")


def test_words_become_typed_values() -> None:
    words = ["port=3", "sizes=1,2", "share=0.5", "router.k=2", "--check", "a/b.json", "style=json"]
    assert parse(ServeOptions, words).model_dump() == {
        "folder": "site",
        "port": 3,
        "sizes": [1, 2],
        "share": 0.5,
        "style": "json",
        "check": True,
        "options": {"k": 2},
        "files": [Path("a/b.json")],
    }
    assert parse(ServeOptions, ["share=null"]).share is None


def test_unclaimed_words_are_passed_on_unchanged() -> None:
    options = parse(TuneOptions, ["trials=2", "-m", "space.k=int(1,4)", "router.k=2", "x"])
    assert options.run == ["-m", "router.k=2", "x"] and options.space == {"k": "int(1,4)"}


def test_an_option_that_looks_like_one_of_the_command_is_so_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tune(options: TuneOptions) -> None:
        raise UnknownOption(options.run[0], ["trainer.max_steps", "train"], "; all: --help")

    for word, says in (("trails", "trials"), ("traner", "train, trainer.max_steps")):
        monkeypatch.setattr("sys.argv", ["tune", word])
        with pytest.raises(SystemExit):
            run_command(tune, TuneOptions, None)
        error = capsys.readouterr().err
        assert error.startswith(f"error: unknown option '{word}'; nearest: {says}")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("port=x", "port=x: input should be a valid integer"),
        (
            "port=0",
            "port=0: input should be greater than or equal to 1; type for example port=8000",
        ),
        ("sizes=0,1", "sizes=0,1: input should be greater than 0; type for example sizes=8,64"),
        ("share=3", "share=3: input should be less than 1; type for example share=0.5"),
        ("style=xml", "style=xml: input should be 'table' or 'json'; type for example style=table"),
        ("prot=3", "unknown option 'prot'; nearest: port"),
        ("port", "port: expected a value; type for example port=8000"),
        ("--chek", "unknown option '--chek'; nearest: --check"),
    ],
)
def test_bad_words_are_one_line_with_an_example_that_is_accepted(word: str, says: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(ServeOptions, [word])
    message = str(raised.value)
    assert message.startswith(says) and "\n" not in message
    parse(ServeOptions, [message.rpartition("type for example ")[2]])


def run(
    run_it: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, **more: Any
) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["serve", *words])
    try:
        run_command(run_it, ServeOptions, "Serve pages.", **more)
    except SystemExit as stop:
        return stop.code
    return None


def test_help_explains_every_option_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(print, ["--help"], monkeypatch, codes={1: "false"}, notes="Columns") is None
    text = capsys.readouterr().out
    assert text.startswith("Serve pages.") and text.endswith("Columns\n")
    for line in (
        "  port=8000                       port of the server (integer 1 to 65535)",
        "  sizes=8,64                      numbers of experts (list of integers > 0)",
        "  share=null                      a share (number > 0, < 1 or null)",
        "  style=table                     how it is printed (table | json)",
        "  --check                         only read",
        "  router.<name>=<value>           of the router",
        "  <record> ...                    files of records",
        "  1                               false",
        "  130                             Ctrl-C",
    ):
        assert f"{line}\n" in text


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UserError("wrong"), 2, "error: wrong\n"),
        (RunFailed("loss is nan"), 2, "error: loss is nan\n"),
        (OSError("disk full"), 2, "error: disk full\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    error: BaseException,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: ServeOptions) -> None:
        raise error

    assert run(fail, [], monkeypatch) == code and capsys.readouterr().err == says
    assert run(lambda _: 1, [], monkeypatch) == 1


def test_a_traceback_is_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(UserError, match="unknown option"):
        run(print, ["prot=1"], monkeypatch)


def test_types_and_ranges_in_words() -> None:
    assert values_of(list[int | str] | Literal["all"]) == "list of integers or text or all"
    assert values_of(Annotated[float, Field(gt=0, le=1)] | None) == "number > 0, <= 1 or null"
