"""`python -m moesuite.run`: one run, or with -m a sweep of runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from moesuite.config.cli import BAD_INPUT, CODES, FULL_ERROR, exits, importing
from moesuite.config.cli import HELP as HELP_FLAGS
from moesuite.config.compose import configuration, explain, to_config, understood
from moesuite.config.groups import group_choices, register
from moesuite.config.option_help import row, rows
from moesuite.config.run_command import reproduce
from moesuite.config.run_options import run_options
from moesuite.discovery.names import benchmark_files
from moesuite.errors import RunFailed, UserError
from moesuite.experiments.benchmark import run_grid
from moesuite.experiments.launchers import parse_launcher
from moesuite.experiments.sweep import FLAGS, sweep

HELP = """\
Train and measure one router in one backbone on one task, and write a run record.

    python -m moesuite.run                                    digits, token choice: under a minute
    python -m moesuite.run router=soft num_experts=16 seed=1
    python -m moesuite.run -m router=dense,soft seed=0,1,2    a sweep
    python -m moesuite.run -m seed=0,1,2 launcher=joblib      in parallel
    python -m moesuite.run benchmark=quick                    a frozen grid
    python -m moesuite.run benchmark=lite router=my_file.py:MyRouter      what a router is worth
    python -m moesuite.run task=imagenet task.source=<ImageFolder> backbone=vit_s16
    python -m moesuite.run router=expert_choice upcycle=<last.ckpt of a dense run>
    python -m moesuite.run router=my_file:MyRouter            a router of your own
    python -m moesuite.run trainer.max_steps=10 trainer.precision=bf16-mixed

Options are option=value in Hydra's grammar. Those of the task and the router follow the choice:
python -m moesuite.run task=wikitext2 router=soft --help

Choices (what each is: moesuite list):
{choices}

{options}

Flags:
{flags}

Exit codes:
{codes}"""
FLAG_TEXTS = {
    "-m, --multirun": "a sweep over values with commas between",
    "--config-dir <folder>": "your own task/*.yaml, backbone/*.yaml, ...",
    "--cfg job": "print the configuration only",
    "--hydra-help": "all flags of Hydra",
}
ALSO = {
    "router": "<module or file>:<class>",
    "benchmark": "lite with router=<one of your choice>",
    "backbone": "timm:<name>, hf:<type, hub id or folder>",
    "logger": "[csv,wandb]",
}
RESUME = "interrupted; the same command resumes from the last checkpoint"


def main() -> None:
    """Run the command line; exits with 2 for bad input and failed runs, 130 after Ctrl-C."""
    with exits(RESUME), hydra_errors():
        words = sys.argv[1:] = understood(sys.argv[1:])
        if set(HELP_FLAGS) & set(words):
            print(help_text(words))
            return
        failed = started(words)
    if failed:
        if len(failed) > 1:
            print("\n".join([f"{len(failed)} runs failed:", *failed]), file=sys.stderr)
        sys.exit(BAD_INPUT)


def started(words: list[str]) -> list[str]:
    """Start what the words ask for; return the commands of the runs that failed."""
    launcher, words = parse_launcher(words)
    if any(word.startswith("benchmark=") for word in words):
        return run_grid(words, launcher)
    if set(FLAGS) & set(words):
        return sweep(words, launcher)
    if not launcher.is_here:
        raise UserError(
            f"launcher={launcher.name} for one run; allowed with -m or benchmark=;"
            " type -m for a sweep"
        )
    failed: list[str] = []

    command = reproduce(words)  # with --config-dir, which may hold the task

    def job(composed: DictConfig) -> None:
        try:
            config = to_config(composed)  # fail on typos before the slow imports
            with importing():
                from moesuite.experiments.run_report import already_recorded, print_run
                from moesuite.train.fit import fit, recorded
            done = recorded(config)
            record, path = done or fit(config, command)
            if os.environ.get("LOCAL_RANK", "0") == "0":  # of several devices, one prints
                print_run(record, path)
                if done:
                    print(already_recorded(record))
        except (UserError, RunFailed) as error:
            failed.append(command)
            print(f"error: {error}", file=sys.stderr)

    register(words)
    hydra.main(version_base=None, config_path="pkg://moesuite.config.conf", config_name="config")(
        job
    )()
    return failed


def help_text(words: list[str]) -> str:
    """Return the help: the choices, and every option of the present choice with its value."""
    values = configuration([word for word in words if word not in HELP_FLAGS])
    choices = {**group_choices(), "benchmark": list(benchmark_files())}
    groups = run_options(values["router.name"], values["task.family"], values)
    return HELP.format(
        choices="\n".join(
            row(f"{group}=", ", ".join([*names, *([ALSO[group]] if group in ALSO else [])]))
            for group, names in choices.items()
        ),
        options="\n\n".join(f"{title}:\n{rows(options)}" for title, options in groups.items()),
        flags="\n".join(row(flag, text) for flag, text in FLAG_TEXTS.items()),
        codes="\n".join(row(str(code), text) for code, text in CODES.items()),
    )


@contextmanager
def hydra_errors() -> Iterator[None]:
    """Turn Hydra's errors into a `UserError`."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"  # makes Hydra hand errors to us
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        if before == "1":
            raise
        raise explain(error) from None
    finally:
        del os.environ[FULL_ERROR]
        os.environ |= {} if before is None else {FULL_ERROR: before}


if __name__ == "__main__":
    main()
