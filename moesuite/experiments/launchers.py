"""Where the runs of a sweep or benchmark, and the workers of a study, go: this process, others, SLURM or Ray.

launcher=joblib     processes of this machine that share its cores; launcher.n_jobs=<processes> [all cores]
launcher=submitit   jobs of SLURM where there is one, else processes here; launcher.slurm_partition=<name>,
                    launcher.timeout_min=60, ...: options of submitit's executor; logs in
                    <records>/.submitit
launcher=ray        a Ray cluster; launcher.address=<of a running one>, launcher.num_cpus=2, launcher.num_gpus=1, ...:
                    options of a remote function
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

from moesuite.errors import UserError, unknown
from moesuite.records.store import job_logs

HERE = "here"
EXTRAS = {
    "joblib": None,
    "submitit": "slurm",
    "ray": "ray",
}  # what installs each; joblib comes with scikit-learn
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Launcher:
    """A launcher and its options, as the command line names them.

    Attributes:
        name: here, joblib, submitit or ray.
        options: of that library.
        records: folder of run records, also of logs.
    """

    name: str
    options: dict[str, Any]
    records: str

    @property
    def is_here(self) -> bool:
        """Whether everything happens in this process."""
        return self.name == HERE


@dataclass(frozen=True)
class Ended(Generic[Result]):
    """How a job ended: its result, or why there is none."""

    result: Result | None
    error: str = ""


def parse_launcher(words: Sequence[str]) -> tuple[Launcher, list[str]]:
    """Take `launcher=` and `launcher.<option>=` out of the words of a command; return them and the other words.

    Raises:
        UserError: for a launcher that is not known or not installed, or options without one.
    """
    name, options, rest, records = HERE, dict[str, Any](), list[str](), "runs"
    for word in words:
        key, _, value = word.partition("=")
        if key == "launcher":
            name = value
        elif key.startswith("launcher."):
            options[key.removeprefix("launcher.")] = yaml.safe_load(value)
        else:
            rest.append(word)
            records = value if key == "records" else records
    if name not in EXTRAS and name != HERE:
        raise unknown("launcher", name, [HERE, *EXTRAS], "launcher=joblib")
    if name == HERE and options:
        raise UserError(
            f"launcher.{next(iter(options))}= without a launcher; type for example launcher=joblib"
        )
    if name != HERE and importlib.util.find_spec(name) is None:
        raise UserError(
            f'launcher={name} needs the package {name}; type pip install -e ".[{EXTRAS[name]}]"'
        )
    return Launcher(name, options, records), rest


def launch(
    launcher: Launcher, work: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[Ended[Result]]:
    """Yield how each job ended, in their order.

    Args:
        launcher: of the command line.
        work: what is done with each job; a function of a module, since other processes import it.
        jobs: of values that can be pickled.

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
    """Tell in one line what a library says of options that it does not take; never of the work itself."""
    try:
        yield
    except (TypeError, NameError, ValueError) as error:
        given = ", ".join(f"launcher.{key}={value}" for key, value in launcher.options.items())
        line = str(error).strip().splitlines()[0]
        raise UserError(
            f"{given}: {launcher.name} says: {line}; allowed are the options that it documents"
        ) from None


def _joblib(
    launcher: Launcher, work: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[Ended[Result]]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with _reading_options(launcher):
        known = inspect.signature(
            Parallel.__init__
        ).parameters  # it takes whatever a backend may know
        if foreign := launcher.options.keys() - known.keys():
            raise TypeError(f"there is no option {min(foreign)!r}")
        parallel = Parallel(
            **{"n_jobs": -1, "batch_size": 1, **launcher.options}, return_as="generator"
        )
    try:
        for result in parallel(delayed(_silently)(work, job) for job in jobs):
            yield Ended(result)
    except TerminatedWorkerError as error:
        raise UserError(
            f"a process died ({str(error).splitlines()[0]}); the same command goes on"
        ) from None


def _silently(work: Callable[[Job], Result], job: Job) -> Result:
    """Work without a word: what many processes print at once nobody can read."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
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
    with executor.batch():  # one array of SLURM
        waiting = deque(executor.submit(work, job) for job in jobs)
    try:
        while waiting:
            one = waiting[0]
            try:
                ended = Ended(one.result())
            except (FailedJobError, UncompletedJobError) as error:
                ended = Ended(
                    None, f"{str(error).strip().splitlines()[-1]}; its log is {one.paths.stderr}"
                )
            waiting.popleft()
            yield ended
    finally:  # of an interrupted command nothing is left behind
        for one in waiting:
            one.cancel(check=False)


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
