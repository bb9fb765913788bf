"""Trials in processes of their own: none can hang, kill or swell the sweep."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from moesuite.support.result import Library, Outcome, Result, Status

Trial = tuple[Library, str, str]  # library, family or model type, name of the model
PRELOADED = ["moesuite.support.preloaded"]


@dataclass
class Running:
    """A trial in its process."""

    trial: Trial
    process: BaseProcess
    answers: Connection
    begun: float = field(default_factory=time.monotonic)


def run_all(
    trials: Sequence[Trial], jobs: int, limit_s: float, memory_gb: float
) -> Iterator[Result]:
    """Yield the result of each trial, as they end.

    Args:
        trials: what to try.
        jobs: processes at a time.
        limit_s: seconds after which a trial is ended.
        memory_gb: memory of each process, beyond what its libraries take.
    """
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(PRELOADED)
    waiting, running = list(trials), list[Running]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                trial = waiting.pop(0)
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(trial, there, memory_gb), daemon=True)
                process.start()
                there.close()
                running.append(Running(trial, process, here))
            wait([each.answers for each in running], timeout=1.0)
            for each in list(running):
                if (result := _result(each, limit_s)) is not None:
                    running.remove(each)
                    yield result
    finally:
        for each in running:
            each.process.kill()


def _result(running: Running, limit_s: float) -> Result | None:
    """Return the result of a trial that has ended, or is ended here; None while it runs."""
    seconds = time.monotonic() - running.begun
    result = None
    if seconds > limit_s:
        result = _ended(running.trial, "unsupported", f"not done after {limit_s:.0f} s")
    elif running.answers.poll():
        try:
            result = Result.model_validate_json(running.answers.recv())
        except EOFError:
            running.process.join()
            result = _ended(running.trial, "crash", f"ended with {running.process.exitcode}")
    if result is not None:
        running.process.kill()
        running.process.join()
        running.answers.close()
    return result


def _ended(trial: Trial, status: Status, why: str) -> Result:
    library, name, model = trial
    return Result(
        library=library,
        name=name,
        model=model,
        upcycle=Outcome(status=status, detail=why),
    )


def _work(trial: Trial, answers: Connection, memory_gb: float) -> None:
    """Run one trial: the process of a worker."""
    from moesuite.support.trial import attempt

    limit_memory(memory_gb)
    answers.send(attempt(*trial).model_dump_json())
    answers.close()


def limit_memory(gigabytes: float) -> None:
    """Let allocations beyond a limit fail in this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
