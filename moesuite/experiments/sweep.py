"""Many runs by one command: a sweep or a frozen grid, one after another or on a launcher."""

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

from moesuite.config.cli import FOLDER, flags_first
from moesuite.config.compose import compose
from moesuite.config.run_command import reproduce
from moesuite.errors import RunFailed, UserError
from moesuite.experiments.launchers import Launcher, launch
from moesuite.progress import duration

if TYPE_CHECKING:
    from moesuite.records.record import RunRecord

FLAGS = ("-m", "--multirun")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep or benchmark.

    Attributes:
        label: shown on the console.
        words: of its command.
    """

    label: str
    words: list[str]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        record: None if it failed.
        path: of the record.
        error: reason of the failure.
        was_recorded: whether it was recorded before, so that nothing was run.
    """

    record: RunRecord | None = None
    path: Path | None = None
    error: str = ""
    was_recorded: bool = False


@dataclass
class Progress:
    """Progress over many runs.

    Attributes:
        total: number of runs.
        done: number of runs that ended.
        recorded: number of these that were recorded before.
        begun: seconds on a monotonic clock.
    """

    total: int
    done: int = 0
    recorded: int = 0
    begun: float = field(default_factory=time.monotonic)

    def count(self, outcome: Outcome, now: float) -> str:
        """Count a run that ended at `now` (seconds).

        Returns:
            Number of runs done and estimated time left; empty after the last run.
        """
        self.done += 1
        self.recorded += outcome.was_recorded
        if self.done == self.total:
            return ""
        line = f"{self.done} of {self.total} done"
        trained = self.done - self.recorded
        if trained == 0:
            return line
        left = (now - self.begun) / trained * (self.total - self.done)
        return f"{line}, about {duration(left)} left"

    def recorded_before(self) -> str:
        """Return how many runs were recorded before and how to repeat them; empty for none."""
        if not self.recorded:
            return ""
        verb, them = ("was", "it") if self.recorded == 1 else ("were", "them")
        runs = f"{self.recorded} of {self.total} runs {verb} already recorded"
        return f"{runs}; type force=true to run {them} again"


def expand(words: Sequence[str]) -> list[list[str]]:
    """Return the words of each run of a sweep: every combination of the values of its options.

    Raises:
        UserError: for a word that cannot be parsed, or a range without steps.
    """
    flags, options = _flags_and_options(words)
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
            key = override.get_key_element()
            axes.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            raise UserError(
                f"{word}: a sweep needs values; type e.g. {override.key_or_group}=range(1,4)"
            )
    return [[*flags, *combination] for combination in itertools.product(*axes)]


def _flags_and_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the flags of every run, each as one word, and the options."""
    flags: list[str] = []
    options: list[str] = []
    for word in flags_first(words):
        if word.startswith(f"{FOLDER}="):
            flags.append(word)
        elif not word.startswith("-"):
            options.append(word)
        elif word not in FLAGS:
            allowed = ", ".join((*FLAGS, FOLDER))
            raise UserError(f"{word} in a sweep; allowed flags: {allowed}; type it without -m")
    return flags, options


def run_one(run: PlannedRun) -> Outcome:
    """Compose, train and measure one of many runs; an error does not stop the others."""
    print(run.label, flush=True)
    try:
        config = compose(*run.words)  # fail on typos before the slow imports
        devices = config.trainer["devices"]
        if more_than_one(devices):
            raise UserError(
                f"trainer.devices={devices} in a sweep or benchmark; allowed: 1, because every "
                "process of a multi-device run would start the whole sweep again; start runs one "
                "by one, or type trainer.devices=1"
            )
        from moesuite.train.fit import fit, recorded

        if recorded_run := recorded(config):
            return Outcome(*recorded_run, was_recorded=True)
        return Outcome(*fit(config, reproduce(run.words)))
    except (UserError, RunFailed) as error:
        return Outcome(error=str(error))


def more_than_one(devices: object) -> bool:
    """Return whether Lightning would start more processes, each with this command line."""
    import torch

    return torch.cuda.device_count() > 1 if str(devices) == "auto" else str(devices) != "1"


def run_many(
    runs: Sequence[PlannedRun], launcher: Launcher, progress: Progress
) -> Iterator[Outcome]:
    """Run, and yield how each run ended, in their order; print outcomes and the time left."""
    from moesuite.experiments.run_report import already_recorded

    for run, ended in zip(runs, launch(launcher, run_one, runs), strict=True):
        outcome = ended.result or Outcome(error=ended.error)
        record = outcome.record
        if record is None:
            print(f"error: {outcome.error}", file=sys.stderr)
        elif not launcher.is_here:  # its own output is lost
            quality = record.quality[record.primary].value
            print(f"{run.label}: {record.primary} {quality:.4g}", flush=True)
        if record is not None and outcome.was_recorded:
            print(already_recorded(record), flush=True)
        if line := progress.count(outcome, time.monotonic()):
            print(line, flush=True)
        yield outcome


def sweep(words: Sequence[str], launcher: Launcher) -> list[str]:
    """Run a sweep and compare its runs; return the commands of those that failed."""
    combinations = expand(words)
    runs = [
        PlannedRun(f"[{number}/{len(combinations)}] {' '.join(combination)}", combination)
        for number, combination in enumerate(combinations, start=1)
    ]
    records: list[RunRecord] = []
    failed: list[str] = []
    progress = Progress(len(runs))
    for run, outcome in zip(runs, run_many(runs, launcher, progress), strict=True):
        if outcome.record is None or outcome.path is None:
            failed.append(reproduce(run.words))
            continue
        records.append(outcome.record)
        if launcher.is_here:
            from moesuite.experiments.run_report import print_run

            print_run(outcome.record, outcome.path)
    print_end(records, progress)
    return failed


def print_end(records: Sequence[RunRecord], progress: Progress) -> None:
    """Print the end of many runs: their comparison, and how many were recorded before."""
    from moesuite.experiments.benchmark_report import print_comparison

    print_comparison(records)
    if line := progress.recorded_before():
        print(line)
