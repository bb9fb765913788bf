"""The options of `python -m moesuite.tune`. No torch: typos fail before the slow imports."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from moesuite.config.cli import Options, Prefix, Rest, parse
from moesuite.config.sections import MOST_PROCESSES
from moesuite.discovery.names import router_names
from moesuite.errors import UserError
from moesuite.experiments.launchers import Launcher, parse_launcher
from moesuite.tune.space.search_space import read_space, tune_files

NO_WINNER = (
    "a front has no single best trial to run on fresh seeds; type objective=quality "
    "max_gflop=<largest GFLOP> or max_ms=<ms>, or winner=0"
)
QUIET = ("trainer.enable_progress_bar=false", "logger=none")  # unless typed otherwise


class TuneOptions(Options):
    """Options of a study; every other one is of its runs."""

    router: str = Field("token_choice", description="router to tune; all: each one in turn")
    tune: str | None = Field(
        None,
        examples=["capacity"],
        description=f"search space: {', '.join(tune_files())}, or the path of a YAML file",
    )
    space: Annotated[dict[str, str], Prefix("tune.space.")] = Field(
        {},
        description="one more option to search, or another range for it, in Hydra's sweep grammar: "
        "interval(a,b) | range(a,b[,step]) | choice(a,b,...) | tag(log,interval(a,b)) | glob(*) of "
        "named values; auto for router.<option> and router.*: the range that is declared",
    )
    trials: int = Field(30, ge=1, description="trials of each router")
    objective: Literal["quality", "quality,flops", "quality,latency"] = Field(
        "quality", description="what is optimised; of two, their front"
    )
    max_gflop: float | None = Field(
        None, ge=0, allow_inf_nan=False, examples=[1], description="most GFLOP executed"
    )
    max_ms: float | None = Field(
        None, ge=0, allow_inf_nan=False, examples=[10], description="most milliseconds of a batch"
    )
    max_dropped: float | None = Field(
        None,
        ge=0,
        le=1,
        examples=[0.1],
        description="largest share of tokens dropped under the training capacity",
    )
    pruner: Literal["none", "median", "hyperband"] = Field(
        "none",
        description="stops trials early by their quality on the validation split; one objective",
    )
    winner: int = Field(
        3,
        ge=0,
        description="fresh seeds, apart from the search, on which the best trial's options are run "
        "at the end; one objective",
    )
    study: str | None = Field(
        None,
        examples=["my_study"],
        description="name; null: <task>_<router>_<tune>. The same command resumes it, in any "
        "number of processes",
    )
    storage: str | None = Field(
        None,
        examples=["postgresql://user:password@host/database"],
        description="journal file, or address of a database; null: "
        "<records>/studies/<study>.journal",
    )
    workers: int = Field(
        1,
        ge=1,
        le=MOST_PROCESSES,
        description="processes on this machine that share its cores, or jobs of a launcher",
    )
    launcher: str = Field("here", description="where workers run: here | joblib | submitit | ray")
    launcher_options: Annotated[dict[str, Any], Prefix("launcher.")] = Field(
        {}, description="options of that library, see moesuite/experiments/launchers.py"
    )
    words: Annotated[list[str], Rest("options of every run")] = Field(
        [], description="see python -m moesuite.run --help"
    )


@dataclass(frozen=True)
class TuneCommand:
    """A tuning command.

    Attributes:
        options: of the study.
        words: overrides of every run.
        typed: the command line, without the words of a launcher.
        launcher: where workers run.
    """

    options: TuneOptions
    words: tuple[str, ...]
    typed: tuple[str, ...]
    launcher: Launcher

    @property
    def records(self) -> Path:
        """Folder of run records."""
        return Path(self.launcher.records)

    @property
    def line(self) -> str:
        """The command line that resumes the study."""
        return shlex.join(["python", "-m", "moesuite.tune", *self.typed])


def parse_command(typed: Sequence[str]) -> TuneCommand:
    """Read the command line.

    Raises:
        UserError: for an option that is not allowed, or two that exclude each other.
    """
    return command_of(parse(TuneOptions, typed), typed)


def command_of(options: TuneOptions, typed: Sequence[str]) -> TuneCommand:
    """Return the command of parsed options.

    Raises:
        UserError: for options that exclude each other or that a study sets itself.
    """
    launcher, rest = parse_launcher(typed)
    for word in options.words:
        if word == "-m" or word.startswith(("seed=", "trial=")):
            raise UserError(
                f"{word}: a study sets it itself; type winner=<number of fresh seeds> for the "
                "seeds at its end"
            )
    if "," in options.objective:
        if options.pruner != "none":
            raise UserError(
                f"pruner={options.pruner} with objective={options.objective}: a trial that is "
                "behind in one objective may be on the front by the other, so these are not "
                "pruned; type pruner=none"
            )
        if options.winner and "winner" in options.model_fields_set:
            raise UserError(
                f"winner={options.winner} with objective={options.objective}: {NO_WINNER}"
            )
    typed_names = {word.partition("=")[0] for word in options.words}
    quiet = [word for word in QUIET if word.partition("=")[0] not in typed_names]
    return TuneCommand(options, (*options.words, *quiet), tuple(rest), launcher)


def commands_by_router(command: TuneCommand) -> list[TuneCommand]:
    """Return the command of each router, all with equal budgets.

    router=all is every router with something to search.

    Raises:
        UserError: if no router has anything to search.
    """
    options = command.options
    if options.router != "all":
        return [command]
    commands = []
    for router in router_names():
        try:
            read_space(options.tune, options.space, router)
        except UserError:
            continue
        study = options.study and f"{options.study}_{router}"
        router_options = options.model_copy(update={"router": router, "study": study})
        commands.append(replace(command, options=router_options))
    if not commands:
        raise UserError(
            f"tune={options.tune}: no router has anything to search there, e.g. tune=capacity"
        )
    return commands
