"""Workers of a study: which are alive, and what becomes of the trials of those that are not."""

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

BEAT, GRACE = (
    10.0,
    60.0,
)  # seconds between signs of life, and without one until a trial counts as lost
SETTLED = 0.5  # seconds until all workers have seen what one wrote
WORKER, ALIVE, LOST = (
    "worker",
    "alive",
    "lost",
)  # of a trial; the first two also of a study, by who runs its winner


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
    if trial.user_attrs.get(WORKER) == this_worker():
        return True  # begun before the storage was gone for a while
    return _is_gone(
        trial.user_attrs, trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    )


def _is_gone(kept: Mapping[str, Any], begun: float) -> bool:
    """Return whether the worker that attributes name has died; of another machine, by its last sign of life."""
    if (running := _runs_here(kept.get(WORKER, ""))) is not None:
        return not running
    return time.time() - kept.get(ALIVE, begun) > GRACE


def this_worker() -> str:
    """Return the name of this process among workers."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _runs_here(worker: str) -> bool | None:
    """Return whether a worker of this machine is running; None for one of another, or where that cannot be seen."""
    host, _, process = worker.rpartition(":")
    return (
        Path(f"/proc/{process}").exists()
        if host == socket.gethostname() and Path("/proc").is_dir()
        else None
    )


def claims_winner(study: optuna.Study) -> bool:
    """Return whether this worker is the one that runs the winner; another one that died before the end is followed."""
    kept = study.user_attrs
    if kept.get(WORKER, this_worker()) != this_worker() and not _is_gone(kept, 0.0):
        return False
    study.set_user_attr(ALIVE, time.time())
    study.set_user_attr(WORKER, this_worker())
    time.sleep(SETTLED)  # of several that ask at once the last one stays
    return bool(study.user_attrs[WORKER] == this_worker())


@contextmanager
def alive(owner: Trial | optuna.Study) -> Iterator[None]:
    """Give signs of life while a trial, or the winner of a study, runs."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            try:
                owner.set_user_attr(ALIVE, time.time())
            except (StorageInternalError, SQLAlchemyError):  # it may be back at the next beat
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
