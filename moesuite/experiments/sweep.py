"""Many runs by one command: the values of a sweep, or a frozen grid, one after another or on a launcher."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from moesuite.config.compose import compose
from moesuite.config.run_command import reproduce
from moesuite.errors import RunFailed, UserError
from moesuite.experiments.launchers import Launcher, launch

if TYPE_CHECKING:
    from moesuite.records.record import RunRecord

FLAGS, FOLDER = ("-m", "--multirun"), ("--config-dir", "-cd")


@dataclass(frozen=True)
class Run:
    """One of many runs: what is shown of it, and its words."""

    label: str
    words: list[str]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its record and where that is, or what went wrong.

    Attributes:
        again: whether it was recorded already, and nothing was run.
    """

    record: RunRecord | None = None
    path: Path | None = None
    error: str = ""
    again: bool = False


@dataclass
class Progress:
    """How far many runs are.

    Attributes:
        total: runs.
        done: that ended; `again`: of them, those that were recorded already.
        begun: seconds, on a clock that never goes back.
    """

    total: int
    done: int = 0
    again: int = 0
    begun: float = field(default_factory=time.monotonic)

    def count(self, outcome: Outcome, now: float) -> str:
        """Count a run that ended at `now` (seconds); return how long the others will take, empty after the last."""
        self.done += 1
        self.again += outcome.again
        if self.done == self.total:
            return ""
        fresh = self.done - self.again
        left = (
            f", about {duration((now - self.begun) / fresh * (self.total - self.done))} left"
            if fresh
            else ""
        )
        return f"{self.done} of {self.total} done{left}"

    def told(self) -> str:
        """Return how many runs were recorded already, and what to type; empty for none."""
        if not self.again:
            return ""
        runs = f"{self.again} of {self.total} runs {'was' if self.again == 1 else 'were'} already recorded"
        return f"{runs}; type force=true to run {'it' if self.again == 1 else 'them'} again"


def duration(seconds: float) -> str:
    """Return a time for a reader: two digits at most, in s, min or h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def expand(words: Sequence[str]) -> list[list[str]]:
    """Return the words of each run of a sweep: every combination of the values that stand behind commas.

    Raises:
        UserError: for a word that cannot be read, or a range without steps.
    """
    flags, options = _parted(words)
    try:
        overrides = OverridesParser.create().parse_overrides(options)
    except HydraException as error:
        raise UserError(
            f"{str(error).splitlines()[0]}; allowed: option=value,value; see --help"
        ) from None
    axes = []
    for override, word in zip(overrides, options, strict=True):
        if not override.is_sweep_override():
            axes.append([word])
        elif override.is_discrete_sweep():
            axes.append(
                [
                    f"{override.get_key_element()}={value}"
                    for value in override.sweep_string_iterator()
                ]
            )
        else:
            raise UserError(
                f"{word}: a sweep needs values; type for example {override.key_or_group}=range(1,4)"
            )
    return [[*flags, *one] for one in itertools.product(*axes)]


def _parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the flags that every run has, each as one word, and the options."""
    flags, options, rest = list[str](), list[str](), iter(words)
    for word in rest:
        flag, given, value = word.partition("=")
        if flag in FOLDER:
            flags.append(f"{FOLDER[0]}={value if given else next(rest, '')}")
        elif not word.startswith("-"):
            options.append(word)
        elif word not in FLAGS:
            raise UserError(
                f"{word} in a sweep; allowed flags: {', '.join((*FLAGS, *FOLDER))}; type it without -m"
            )
    return flags, options


def run_one(run: Run) -> Outcome:
    """Compose, train and measure one of many runs; what goes wrong with it is no reason to stop the others."""
    print(run.label, flush=True)
    try:
        config = compose(*run.words)  # what is mistyped is told before seconds of imports
        if more_than_one(config.trainer["devices"]):
            raise UserError(
                f"trainer.devices={config.trainer['devices']} in a sweep or benchmark: allowed is 1 device, because "
                "each process of a run would start all of it again; start runs one by one, or type trainer.devices=1"
            )
        from moesuite.train.fit import fit, recorded

        if done := recorded(config):
            return Outcome(*done, again=True)
        return Outcome(*fit(config, reproduce(run.words)))
    except (UserError, RunFailed) as error:
        return Outcome(error=str(error))


def more_than_one(devices: object) -> bool:
    """Return whether Lightning would start further processes, each by the command line of this one."""
    import torch

    return torch.cuda.device_count() > 1 if str(devices) == "auto" else str(devices) != "1"


def run_many(runs: Sequence[Run], launcher: Launcher, progress: Progress) -> Iterator[Outcome]:
    """Yield how each run ended, in their order, and say so, and how long the others will take."""
    from moesuite.experiments.run_report import already_recorded

    for run, ended in zip(runs, launch(launcher, run_one, runs), strict=True):
        outcome = ended.result or Outcome(error=ended.error)
        record = outcome.record
        if record is None:
            print(f"error: {outcome.error}", file=sys.stderr)
        elif not launcher.is_here:  # where it could print itself
            print(
                f"{run.label}: {record.primary} {record.quality[record.primary].value:.4g}",
                flush=True,
            )
        if record is not None and outcome.again:
            print(already_recorded(record), flush=True)
        if line := progress.count(outcome, time.monotonic()):
            print(line, flush=True)
        yield outcome


def sweep(words: Sequence[str], launcher: Launcher) -> list[str]:
    """Run a sweep, and compare its runs; return the commands of those that failed."""
    expanded = expand(words)
    runs = [
        Run(f"[{n}/{len(expanded)}] {' '.join(one)}", one)
        for n, one in enumerate(expanded, start=1)
    ]
    records: list[RunRecord] = []
    failed, progress = list[str](), Progress(len(runs))
    for run, outcome in zip(runs, run_many(runs, launcher, progress), strict=True):
        if outcome.record is None or outcome.path is None:
            failed.append(reproduce(run.words))
            continue
        records.append(outcome.record)
        if launcher.is_here:
            from moesuite.experiments.run_report import print_run

            print_run(outcome.record, outcome.path)
    compare(records, progress)
    return failed


def compare(records: Sequence[RunRecord], progress: Progress) -> None:
    """Print the end of many runs: a head-to-head, and how many of them were recorded already."""
    from moesuite.experiments.benchmark_report import print_comparison

    print_comparison(records)
    if told := progress.told():
        print(told)
