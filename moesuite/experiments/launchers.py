"""Launchers for the runs of a sweep or benchmark and the workers of a study.

launcher=joblib     processes on this machine; launcher.n_jobs=<processes> [all cores]
launcher=submitit   SLURM jobs, or local processes without SLURM; options of submitit's executor:
                    launcher.slurm_partition=<name>, launcher.timeout_min=60, ...; logs in
                    <records>/.submitit
launcher=ray        tasks on a Ray cluster; launcher.address=<of a running cluster>; options of a
                    remote function: launcher.num_cpus=2, launcher.num_gpus=1, ...
"""

from __future__ import annotations

import importlib.util
import inspect
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from moesuite.config.schema import RunConfig
from moesuite.errors import UserError, unknown
from moesuite.records.store import job_logs

HERE = "here"
# extra that installs each; joblib comes with scikit-learn
EXTRAS = {"joblib": None, "submitit": "slurm", "ray": "ray"}
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Launcher:
    """A launcher and its options, as on the command line.

    Attributes:
        name: here, joblib, submitit or ray.
        options: passed to that library.
        records: the records folder, which also holds logs.
    """

    name: str
    options: dict[str, Any]
    records: str

    @property
    def is_here(self) -> bool:
        """Whether jobs run in this process."""
        return self.name == HERE


@dataclass(frozen=True)
class Ended(Generic[Result]):
    """Result of a job, or the reason for none."""

    result: Result | None
    error: str = ""


def parse_launcher(words: Sequence[str]) -> tuple[Launcher, list[str]]:
    """Split a command into its launcher, `launcher=` and `launcher.<option>=`, and all other words.

    Raises:
        UserError: for an unknown launcher, one that is not installed, or options without one.
    """
    name = HERE
    options: dict[str, Any] = {}
    rest: list[str] = []
    records: str = RunConfig.model_fields["records"].default
    for word in words:
        key, _, value = word.partition("=")
        if key == "launcher":
            name = value
        elif key.startswith("launcher."):
            options[key.removeprefix("launcher.")] = yaml.safe_load(value)
        else:
            rest.append(word)
            records = _text(word) if key == "records" else records
    if name not in EXTRAS and name != HERE:
        raise unknown("launcher", name, [HERE, *EXTRAS], "launcher=joblib")
    if name == HERE and options:
        raise UserError(
            f"launcher.{next(iter(options))}= without a launcher; type e.g. launcher=joblib"
        )
    if name != HERE and importlib.util.find_spec(name) is None:
        raise UserError(
            f'launcher={name} needs the package {name}; type pip install -e ".[{EXTRAS[name]}]"'
        )
    return Launcher(name, options, records), rest


def _text(word: str) -> str:
    """Return the value of an override, without the quotes of Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return str(OverridesParser.create().parse_override(word).value())
    except HydraException:  # the run says what is wrong with it
        return word.partition("=")[2]


def launch(
    launcher: Launcher, work: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[Ended[Result]]:
    """Run jobs and yield how each ended, in their order.

    Args:
        launcher: from the command line.
        work: called with each job; a module-level function, since other processes import it.
        jobs: can be pickled.

    Raises:
        UserError: for an option that the launcher does not know, or processes that died.
    """
    if launcher.is_here:
        yield from (Ended(work(job)) for job in jobs)
    else:
        yield from {"joblib": _joblib, "submitit": _submitit, "ray": _ray}[launcher.name](
            launcher, work, jobs
        )


@contextmanager
def _reading_options(launcher: Launcher) -> Iterator[None]:
    """Report options that a library rejects in one line; errors of the jobs are not touched."""
    try:
        yield
    except (TypeError, NameError, ValueError) as error:
        options = ", ".join(f"launcher.{key}={value}" for key, value in launcher.options.items())
        line = str(error).strip().splitlines()[0]
        raise UserError(
            f"{options}: {launcher.name} says: {line}; allowed: the options that it documents"
        ) from None


def _joblib(
    launcher: Launcher, work: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[Ended[Result]]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with _reading_options(launcher):
        # Parallel itself accepts any option, for its backends
        parameters = inspect.signature(Parallel.__init__).parameters
        if unknown_options := launcher.options.keys() - parameters.keys():
            raise TypeError(f"there is no option {min(unknown_options)!r}")
        options = {"n_jobs": -1, "batch_size": 1, **launcher.options}
        # joblib starts as many as it is told, whether or not they get work; one would be this one
        options["n_jobs"] = min(options["n_jobs"], max(2, len(jobs)))
        parallel = Parallel(**options, return_as="generator")
    try:
        for result in parallel(delayed(_silently)(work, job) for job in jobs):
            yield Ended(result)
    except TerminatedWorkerError as error:
        raise UserError(
            f"a process died ({str(error).splitlines()[0]}); run the same command to resume"
        ) from None


def _silently(work: Callable[[Job], Result], job: Job) -> Result:
    """Run a job without console output: that of many processes at once is not readable."""
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        return work(job)


def _submitit(
    launcher: Launcher, work: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[Ended[Result]]:
    import submitit
    from submitit.core.utils import FailedJobError, UncompletedJobError

    options = {"name": "moesuite", **launcher.options}
    executor = submitit.AutoExecutor(
        folder=str(job_logs(launcher.records)), cluster=options.pop("cluster", None)
    )
    with _reading_options(launcher):
        executor.update_parameters(**options)
    with executor.batch():  # one SLURM job array
        waiting = deque(executor.submit(work, job) for job in jobs)
    try:
        while waiting:
            job = waiting[0]
            try:
                ended = Ended(job.result())
            except (FailedJobError, UncompletedJobError) as error:
                reason = str(error).strip().splitlines()[-1]
                ended = Ended(None, f"{reason}; its log is {job.paths.stderr}")
            waiting.popleft()
            yield ended
    finally:  # an interrupted command leaves no jobs behind
        for job in waiting:
            job.cancel(check=False)


def _ray(
    launcher: Launcher, work: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[Ended[Result]]:
    import ray

    options = dict(launcher.options)
    ray.init(address=options.pop("address", None), log_to_driver=False)
    try:
        remote: Any = ray.remote(_silently)
        with _reading_options(launcher):
            remote = remote.options(**options) if options else remote
        for future in [remote.remote(work, job) for job in jobs]:
            try:
                yield Ended(ray.get(future))
            except ray.exceptions.RayError as error:
                yield Ended(None, str(error).strip().splitlines()[-1])
    finally:
        ray.shutdown()
