"""`python -m moesuite.run`: one run, or with -m a sweep of runs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from moesuite.composition import compose, explain, group_choices, options_text, register, to_config, understood
from moesuite.errors import RunFailed, UserError
from moesuite.grid import plan, show_grid
from moesuite.plugins import benchmark_files
from moesuite.words import BAD_INPUT

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
  python -m moesuite.run benchmark=quick                        a frozen grid: {benchmarks}
  python -m moesuite.run task=imagenet task.source=<ImageFolder> backbone=vit_s16
  python -m moesuite.run router=expert_choice upcycle=<last.ckpt of a dense run> trainer.max_steps=<of both>
  python -m moesuite.run router=my_file:MyRouter                a router of your own
  python -m moesuite.run trainer.max_steps=10 trainer.precision=bf16-mixed

Every option of Lightning's Trainer is trainer.<option>=. Flags: -m (sweep), --cfg job (the configuration only),
--config-dir <folder> (your own task/*.yaml, backbone/*.yaml), --hydra-help (all flags)."""


def main() -> None:
    """Run the command line; exits with 2 for bad input and failed runs, 130 after Ctrl-C."""
    failed: list[str] = []

    def job(composed: DictConfig) -> None:
        command = reproduce(HydraConfig.get().overrides.task)
        try:
            refuse_nested_launch(composed)
            config = to_config(composed)  # what is mistyped is told before seconds of imports
            from moesuite.report import show
            from moesuite.train import fit

            record, path = fit(config, command)
            if os.environ.get("LOCAL_RANK", "0") == "0":  # the other processes of a multi-device run stay silent
                show(record, path)
        except (UserError, RunFailed) as error:  # a sweep goes on with its other runs
            failed.append(command)
            print(f"error: {error}", file=sys.stderr)

    with reported():
        words = sys.argv[1:] = understood(sys.argv[1:])
        if {"--help", "-h"} & set(words):
            print(help_text(words))
            return
        if any(word.startswith("benchmark=") for word in words):
            failed += run_grid(words)
        else:
            register(words)
            hydra.main(version_base=None, config_path="pkg://moesuite.conf", config_name="config")(job)()
    if failed:
        if len(failed) > 1:
            print("\n".join([f"{len(failed)} runs failed:", *failed]), file=sys.stderr)
        sys.exit(BAD_INPUT)


def reproduce(words: Sequence[str]) -> str:
    """Return the command of a run."""
    return shlex.join(["python", "-m", "moesuite.run", *words])


def run_grid(words: list[str]) -> list[str]:
    """Run a benchmark, going on past failed runs; return the commands of these."""
    runs = plan(words)
    from moesuite.budgets import show_budgets
    from moesuite.train import fit

    records, failed, checkpoints = [], list[str](), dict[tuple[str, int], Path]()
    for number, run in enumerate(runs, start=1):
        print(f"[{number}/{len(runs)}] {run.task}, {run.router}, seed {run.seed}", flush=True)
        start = checkpoints.get((run.upcycles, run.seed)) if run.upcycles else None
        words = [*run.words, *([] if start is None else [f"upcycle={start}"])]
        command = reproduce(words)
        try:
            if run.upcycles and start is None:
                raise UserError(f"there is no run {run.upcycles!r} of seed {run.seed} to upcycle: it failed, see above")
            record, path = fit(compose(*words), command)
            records.append(record)
            checkpoints[run.part, run.seed] = path.with_suffix("") / "last.ckpt"
        except (UserError, RunFailed) as error:
            failed.append(command)
            print(f"error: {error}", file=sys.stderr)
    show_grid(records)
    if any(record.sunk is not None for record in records):
        show_budgets(records)
    return failed


def help_text(words: list[str]) -> str:
    """Return the help: what can be chosen, and every option of the present choice with its value."""
    choices = "\n".join(f"  {group}={'|'.join(names)}" for group, names in group_choices().items())
    return HELP.format(
        benchmarks=", ".join(benchmark_files()),
        choices=choices,
        options=options_text([word for word in words if not word.startswith("-")]),
    )


def refuse_nested_launch(composed: DictConfig) -> None:
    """Keep multi-device runs out of sweeps: Lightning starts their processes by the same command line, sweep and all.

    Raises:
        UserError: for more than one device in a sweep.
    """
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return
    import torch

    if str(composed.trainer.devices) == "auto":
        if torch.cuda.device_count() > 1:
            composed.trainer.devices = 1
    elif str(composed.trainer.devices) != "1":
        raise UserError(
            f"trainer.devices={composed.trainer.devices} in a sweep (-m): allowed is 1 device, because each process "
            "of a run would start the sweep again; start runs one by one, or type trainer.devices=1"
        )


@contextmanager
def reported() -> Iterator[None]:
    """Turn bad input into one line and exit code 2; with HYDRA_FULL_ERROR=1 into a traceback."""
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra hand errors to us
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if full:
            raise
        line = error if isinstance(error, UserError) else explain(error)
        print(f"error: {line}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
