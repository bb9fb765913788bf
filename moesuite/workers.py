"""Workers of a study: which are alive, and what becomes of the trials of those that are not."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

BEAT, GRACE = 10.0, 60.0  # seconds between signs of life, and without one until a trial counts as lost
SETTLED = 0.5  # seconds until all workers have seen what one wrote
WORKER, ALIVE, LOST, WINNER_BY = "worker", "alive", "lost", "winner_by"


def recover(study: optuna.Study) -> int:
    """Give trials of workers that died to others; return how many. Called between trials: this worker has none."""
    found = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_lost(trial):
            continue
        try:
            study._storage.set_trial_user_attr(trial._trial_id, LOST, True)
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:  # another worker was faster
            continue
        study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number})
        found += 1
    return found


def _is_lost(trial: FrozenTrial) -> bool:
    worker, begun = trial.user_attrs.get(WORKER, ""), trial.datetime_start
    if worker == this_worker():
        return True  # begun before the storage was gone for a while
    if (running := _runs_here(worker)) is not None:
        return not running
    return time.time() - trial.user_attrs.get(ALIVE, begun.timestamp() if begun else 0.0) > GRACE


def this_worker() -> str:
    """Return the name of this process among workers."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _runs_here(worker: str) -> bool | None:
    """Return whether a worker of this machine is running; None for one of another, or where that cannot be seen."""
    host, _, process = worker.rpartition(":")
    return Path(f"/proc/{process}").exists() if host == socket.gethostname() and Path("/proc").is_dir() else None


def claims_winner(study: optuna.Study) -> bool:
    """Return whether this worker is the one that runs the winner; another one that died before the end is followed."""
    owner = study.user_attrs.get(WINNER_BY)
    if owner is not None and owner != this_worker() and _runs_here(owner) is not False:
        return False
    study.set_user_attr(WINNER_BY, this_worker())
    time.sleep(SETTLED)  # of several that ask at once the last one stays
    return bool(study.user_attrs[WINNER_BY] == this_worker())


@contextmanager
def alive(trial: Trial) -> Iterator[None]:
    """Give signs of life while a trial runs."""
    trial.set_user_attr(WORKER, this_worker())
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            try:
                trial.set_user_attr(ALIVE, time.time())
            except (StorageInternalError, SQLAlchemyError):  # it may be back at the next beat
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
