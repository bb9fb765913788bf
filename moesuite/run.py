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

from moesuite.config.cli import BAD_INPUT, importing
from moesuite.config.compose import explain, options_text, to_config, understood
from moesuite.config.groups import group_choices, register
from moesuite.config.run_command import reproduce
from moesuite.discovery.names import benchmark_files
from moesuite.errors import RunFailed, UserError
from moesuite.experiments.benchmark import run_grid
from moesuite.experiments.launchers import parse_launcher
from moesuite.experiments.sweep import FLAGS, sweep

INTERRUPTED = 130
HELP = """\
python -m moesuite.run: train and measure one router in one backbone on one task, and write a run record.

Choose (also backbone=timm:<any model of timm>, router=<module or file>:<class>):
{choices}

Options of this choice and their values (override with option=value):

{options}
Examples:
  python -m moesuite.run                                        digits, token choice: under a minute
  python -m moesuite.run router=soft num_experts=16 seed=1
  python -m moesuite.run -m router=dense,soft seed=0,1,2        a sweep
  python -m moesuite.run -m seed=0,1,2 launcher=joblib          in parallel: joblib | submitit (SLURM) | ray
  python -m moesuite.run benchmark=quick                        a frozen grid: {benchmarks}
  python -m moesuite.run task=imagenet task.source=<ImageFolder> backbone=vit_s16
  python -m moesuite.run router=expert_choice upcycle=<last.ckpt of a dense run> trainer.max_steps=<of both>
  python -m moesuite.run router=my_file:MyRouter                a router of your own
  python -m moesuite.run trainer.max_steps=10 trainer.precision=bf16-mixed

Every option of Lightning's Trainer is trainer.<option>=. Flags: -m (sweep), --cfg job (the configuration only),
--config-dir <folder> (your own task/*.yaml, backbone/*.yaml), --hydra-help (all flags)."""


def main() -> None:
    """Run the command line; exits with 2 for bad input and failed runs, 130 after Ctrl-C."""
    with reported():
        words = sys.argv[1:] = understood(sys.argv[1:])
        if {"--help", "-h"} & set(words):
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
            f"launcher={launcher.name} for one run; allowed with -m or benchmark=; type -m for a sweep"
        )
    failed: list[str] = []

    command = reproduce(words)  # with its flags: they may say where the task is

    def job(composed: DictConfig) -> None:
        try:
            config = to_config(composed)  # what is mistyped is told before seconds of imports
            with importing():
                from moesuite.experiments.run_report import already_recorded, print_run
                from moesuite.train.fit import fit, recorded
            done = recorded(config)
            record, path = done or fit(config, command)
            if (
                os.environ.get("LOCAL_RANK", "0") == "0"
            ):  # the other processes of a multi-device run stay silent
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
    """Return the help: what can be chosen, and every option of the present choice with its value."""
    choices = "\n".join(f"  {group}={'|'.join(names)}" for group, names in group_choices().items())
    return HELP.format(
        benchmarks=", ".join(benchmark_files()),
        choices=choices,
        options=options_text([word for word in words if not word.startswith("-")]),
    )


@contextmanager
def reported() -> Iterator[None]:
    """Turn bad input into one line and exit code 2; with HYDRA_FULL_ERROR=1 into a traceback."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra hand errors to us
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if before == "1":
            raise
        line = error if isinstance(error, UserError) else explain(error)
        print(f"error: {line}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        os.environ |= {} if before is None else {"HYDRA_FULL_ERROR": before}


if __name__ == "__main__":
    main()
