"""Heartbeats of the workers of a study: which are alive, and who takes over from dead ones."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

BEAT = 10.0  # seconds between two heartbeats
GRACE = 60.0  # seconds without a heartbeat after which a worker counts as dead
SETTLED = 0.5  # seconds until all workers have seen what one wrote
# user attributes: name of a worker and its last heartbeat, of a trial, and of a study by the worker
# that runs its winner
WORKER = "worker"
ALIVE = "alive"
# of a study, `lost:<number>`: a trial whose worker died; the worker that enqueues it again
LOST = "lost"
RETRY_OF = "retry_of"  # of a trial: the number of the lost one that it repeats
BEYOND = "beyond"  # of a trial beyond the budget


def recover(study: optuna.Study) -> int:
    """Fail the trials of workers that died and enqueue them again; return how many.

    Called between trials: this worker has none running. The storage may fail at any step, before
    or after it has stored it; the next call does the rest.
    """
    count = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_orphaned(trial):
            continue
        repeat = not trial.user_attrs.get(BEYOND)
        if repeat:
            study.set_user_attr(f"{LOST}:{trial.number}", this_worker())
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, UpdateFinishedTrialError):  # another worker was faster
            continue
        if repeat:
            _enqueue_again(study, trial)
            count += 1
    return count + _enqueue_forgotten(study)


def _enqueue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})


def _enqueue_forgotten(study: optuna.Study) -> int:
    """Enqueue lost trials whose finder failed them and came no further; return how many."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    finders = study.user_attrs
    count = 0
    for trial in trials:
        finder = finders.get(f"{LOST}:{trial.number}")
        if trial.state != TrialState.FAIL or trial.number in repeated:
            continue
        # `True` in studies of earlier versions
        if isinstance(finder, str) and (finder == this_worker() or runs_here(finder) is False):
            _enqueue_again(study, trial)
            count += 1
    return count


def ask(study: optuna.Study) -> Trial:
    """Return the next trial, under this worker's name.

    Should the storage fail in between, the trial has no name, and counts as lost after a minute.
    """
    trial = study.ask()
    trial.set_user_attr(WORKER, this_worker())
    return trial


def others_work(study: optuna.Study) -> bool:
    """Return whether trials are not over; those of dead workers are enqueued again."""
    recover(study)
    unfinished = (TrialState.RUNNING, TrialState.WAITING)
    return any(trial.state in unfinished for trial in study.get_trials(deepcopy=False))


def lost_trials(study: optuna.Study) -> set[int]:
    """Return the numbers of the trials whose worker died."""
    attributes = study.user_attrs
    return {
        trial.number
        for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        # of the trial itself in studies of earlier versions
        if f"{LOST}:{trial.number}" in attributes or trial.user_attrs.get(LOST)
    }


def _is_orphaned(trial: FrozenTrial) -> bool:
    if trial.user_attrs.get(WORKER) == this_worker():
        return True  # begun before the storage was unreachable for a while
    start = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return _is_dead(trial.user_attrs, start)


def _is_dead(attributes: Mapping[str, Any], start: float) -> bool:
    """Return whether the worker named in `attributes` died; on another machine, by its heartbeat.

    Args:
        attributes: of a trial or study.
        start: time that counts as the first heartbeat, in seconds.
    """
    running = runs_here(attributes.get(WORKER, ""))
    if running is not None:
        return not running
    return time.time() - attributes.get(ALIVE, start) > GRACE


def this_worker() -> str:
    """Return the name of this process among the workers: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def runs_here(worker: str) -> bool | None:
    """Return whether a worker runs on this machine, or None if it is of another or unseen."""
    host, _, process = worker.rpartition(":")
    if host != socket.gethostname() or not Path("/proc").is_dir():
        return None
    return Path(f"/proc/{process}").exists()


def claims_winner(study: optuna.Study) -> bool:
    """Return whether this worker runs the winner: nobody does yet, or the one that did died."""
    attributes = study.user_attrs
    claimed_by = attributes.get(WORKER, this_worker())
    if claimed_by != this_worker() and not _is_dead(attributes, 0.0):
        return False
    study.set_user_attr(ALIVE, time.time())
    study.set_user_attr(WORKER, this_worker())
    time.sleep(SETTLED)  # of several workers that claim it at once, the last one to write wins
    return bool(study.user_attrs[WORKER] == this_worker())


@contextmanager
def alive(owner: Trial | optuna.Study) -> Iterator[None]:
    """Write heartbeats while a trial, or the winner of a study, runs."""
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(BEAT):
            try:
                owner.set_user_attr(ALIVE, time.time())
            except (StorageInternalError, SQLAlchemyError):  # it may be back at the next beat
                continue
            except UpdateFinishedTrialError:  # taken for dead: the trial is another worker's now
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
