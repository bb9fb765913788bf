"""A study: trials in a storage that outlives its workers; any number may share it, and each may die at any time."""

from __future__ import annotations

import math
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar
from zlib import crc32

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from moesuite.errors import UserError
from moesuite.statistics.significance import Direction, pareto
from moesuite.tune.heartbeat import LOST
from moesuite.tune.search_space import Space
from moesuite.tune.sweep_grammar import canonical

TRIES, WAIT = 4, 1.0  # to reach a storage; seconds before the second try, doubled each time
# share of trials that a front is searched near: Optuna's own, a tenth of 30, are too few to span
# one
GOOD = 0.25
BEYOND = "beyond"  # of a trial that nobody asked for
WINNER, WINNER_OF = (
    "winner",
    "winner_of",
)  # ids of the winner's runs; of which trials, and how many seeds
FRESH = "winner_fresh"  # what these runs reached
Result = TypeVar("Result")


@dataclass(frozen=True)
class Plan:
    """What makes two commands work on the same study.

    Attributes:
        name: of the study.
        space: what is searched.
        objectives: quality, flops, latency; directions: maximize or minimize, of each.
        words: of every run.
    """

    name: str
    space: Space
    objectives: tuple[str, ...]
    directions: tuple[Literal["maximize", "minimize"], ...]
    words: tuple[str, ...]

    @property
    def described(self) -> dict[str, Any]:
        """The plan as the storage keeps it."""
        return {
            "space": {parameter.name: parameter.text for parameter in self.space},
            "objectives": list(self.objectives),
            "words": list(self.words),
        }


class Patience:
    """Tries again what a storage refuses, with more time between each try; counts anew after a success.

    Args:
        where: storage, for messages.
        say: shows a line.
    """

    def __init__(self, where: str, say: Callable[[str], None]) -> None:
        self.where, self.say, self.failures = where, say, 0

    def __call__(self, action: Callable[[], Result]) -> Result:
        """Return what an action returns.

        Raises:
            UserError: if it failed `TRIES` times in a row.
        """
        while True:
            try:
                result = action()
            except (StorageInternalError, SQLAlchemyError) as error:
                self._wait(str(error.__cause__ or error).splitlines()[0])
            else:
                self.failures = 0
                return result

    def _wait(self, reason: str) -> None:
        self.failures += 1
        if self.failures == TRIES:
            raise UserError(
                f"storage={self.where} cannot be reached: {reason}; the study is as it was, and the same command goes "
                "on with it; allowed: a file, or an address such as postgresql://user:password@host/database"
            )
        seconds = WAIT * 2 ** (self.failures - 1)
        self.say(
            f"storage={self.where} cannot be reached ({reason}); trying again in {seconds:g} s"
        )
        time.sleep(seconds)


def open_storage(where: str) -> BaseStorage:
    """Open a journal file, or a database by its address.

    Raises:
        UserError: for a kind of database that is not known, or whose driver is not installed.
    """
    if "://" not in where:
        Path(where).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(where))
    # of its two drivers, the one of our extra "postgresql"
    address = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", where)
    try:
        return RDBStorage(address, {"pool_pre_ping": True})
    except (ImportError, NoSuchModuleError, ValueError) as error:
        raise UserError(
            f"storage={where}: {str(error).splitlines()[0]}; allowed: a file, or an address such as "
            'postgresql://user:password@host/database (pip install -e ".[postgresql]")'
        ) from None


def open_study(plan: Plan, storage: BaseStorage, pruner: optuna.pruners.BasePruner) -> optuna.Study:
    """Return the study of a plan, a new one or the one that is there.

    Raises:
        UserError: if another plan has a study of that name, with the difference.
    """
    # by the name, so that the same study draws the same; further workers must not draw what the
    # first one does
    seed = crc32(plan.name.encode()) ^ (os.getpid() if _has(storage, plan.name) else 0)
    study = optuna.create_study(
        storage=storage,
        study_name=plan.name,
        sampler=_sampler(seed, len(plan.objectives) > 1),
        pruner=pruner,
        directions=list(plan.directions),
        load_if_exists=True,
    )
    kept = study.user_attrs.get("plan")
    if kept is None:
        study.set_user_attr("plan", plan.described)
    elif difference := plan_difference(kept, plan.described):
        raise UserError(
            f"study={plan.name} is there already with {difference}; allowed: the same plan, to go on with it; type "
            f"another name, for example study={plan.name}_2"
        )
    return study


def _sampler(seed: int, for_front: bool) -> optuna.samplers.BaseSampler:
    if not for_front:
        return optuna.samplers.TPESampler(seed=seed, multivariate=True)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # `gamma` goes with Optuna 6; pyproject.toml asks for less
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            n_startup_trials=8,
            gamma=lambda count: math.ceil(GOOD * count),
        )


def _has(storage: BaseStorage, name: str) -> bool:
    return any(study.study_name == name for study in storage.get_all_studies())


def plan_difference(recorded: Mapping[str, Any], planned: Mapping[str, Any]) -> str:
    """Return how two plans differ, in words; empty if they do not.

    A space recorded in the old form of `moesuite.tune.sweep_grammar` equals the same one in the new.
    """
    before, now = recorded["space"], planned["space"]
    for name in sorted(before.keys() | now.keys()):
        old, new = (
            canonical(name, space[name]) if name in space else "nothing" for space in (before, now)
        )
        if old != new:
            return f"{name}={old} in its space, where this one has {new}"
    for key in ("objectives", "words"):
        if recorded[key] != planned[key]:
            return f"{key} {' '.join(recorded[key])}, where this one has {' '.join(planned[key])}"
    return ""


def allowed(study: optuna.Study, budget: int) -> int:
    """Return the number from which on a trial is beyond the budget: lost ones, and others beyond it, do not count."""
    trials = study.get_trials(deepcopy=False)
    return budget + sum(
        bool(trial.user_attrs.get(LOST) or trial.user_attrs.get(BEYOND)) for trial in trials
    )


def is_open(study: optuna.Study, budget: int) -> bool:
    """Return whether there are trials left to start."""
    trials = study.get_trials(deepcopy=False)
    waiting = any(trial.state == TrialState.WAITING for trial in trials)
    return waiting or len(trials) < allowed(study, budget)


def feasible(trial: FrozenTrial) -> bool:
    """Return whether a trial keeps all constraints."""
    return all(value <= 0 for value in trial.constraints.values())


def best(study: optuna.Study) -> list[FrozenTrial]:
    """Return the best feasible trial, or the front of quality and cost; empty if there is none."""
    done = [trial for trial in study.get_trials(states=(TrialState.COMPLETE,)) if feasible(trial)]
    way: Direction = "max" if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else "min"
    if len(study.directions) == 1:
        sign = -1 if way == "max" else 1
        return sorted(done, key=lambda trial: (sign * trial.values[0], trial.number))[:1]
    front = pareto([trial.values[1] for trial in done], [trial.values[0] for trial in done], way)
    return [trial for trial, on in zip(done, front, strict=True) if on]
