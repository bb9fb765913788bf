"""A study: trials in a storage that outlives its workers.

Any number of workers may share one, and each may die at any time.
"""

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
from moesuite.statistics.significance import pareto
from moesuite.tune.heartbeat import lost_trials
from moesuite.tune.search_space import Space
from moesuite.tune.sweep_grammar import canonical

TRIES = 4  # to reach a storage
WAIT = 1.0  # seconds before the second try, doubled for each one after it
# Share of trials that count as good when a front is searched: Optuna's default, a tenth, leaves 3
# of 30, too few to span a front.
GOOD = 0.25
# user attributes
BEYOND = "beyond"  # of a trial beyond the budget
WINNER = "winner"  # of a study: ids of the runs of its winner
WINNER_OF = "winner_of"  # of a study: the trials that these runs repeat, and on how many seeds
FRESH = "winner_fresh"  # of a study: what these runs reached
STORAGES = "a file, or an address such as postgresql://user:password@host/database"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Plan:
    """What two commands must share to work on the same study.

    Attributes:
        name: of the study.
        space: what is searched.
        objectives: quality, then maybe flops or latency.
        directions: maximize or minimize, of each objective.
        words: overrides of every run.
    """

    name: str
    space: Space
    objectives: tuple[str, ...]
    directions: tuple[Literal["maximize", "minimize"], ...]
    words: tuple[str, ...]

    @property
    def described(self) -> dict[str, Any]:
        """The plan as it is stored with the study."""
        return {
            "space": {parameter.name: parameter.text for parameter in self.space},
            "objectives": list(self.objectives),
            "words": list(self.words),
        }


class Patience:
    """Retries what a storage refuses, with exponential backoff; a success resets it.

    Args:
        storage: file or address, for messages.
        print_line: shows a line.
    """

    def __init__(self, storage: str, print_line: Callable[[str], None]) -> None:
        self.storage = storage
        self.print_line = print_line
        self.failures = 0

    def __call__(self, action: Callable[[], Result]) -> Result:
        """Return the result of an action.

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
                f"storage={self.storage} cannot be reached: {reason}; the study is unchanged, and "
                f"the same command resumes it; expected {STORAGES}"
            )
        seconds = WAIT * 2 ** (self.failures - 1)
        self.print_line(
            f"storage={self.storage} cannot be reached ({reason}); trying again in {seconds:g} s"
        )
        time.sleep(seconds)


def open_storage(storage: str) -> BaseStorage:
    """Open a journal file, or a database by its address.

    Raises:
        UserError: for an unknown kind of database, or one whose driver is not installed.
    """
    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(storage))
    # of PostgreSQL's two drivers, the one of our extra "postgresql"
    address = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", storage)
    try:
        return RDBStorage(address, {"pool_pre_ping": True})
    except (ImportError, NoSuchModuleError, ValueError) as error:
        raise UserError(
            f"storage={storage}: {str(error).splitlines()[0]}; expected {STORAGES} "
            '(pip install -e ".[postgresql]")'
        ) from None


def open_study(plan: Plan, storage: BaseStorage, pruner: optuna.pruners.BasePruner) -> optuna.Study:
    """Return the study of a plan: the stored one, or a new one.

    Raises:
        UserError: if a study of that name has another plan; it names the difference.
    """
    exists = plan.name in optuna.get_all_study_names(storage)
    # from the name, so that the same study draws the same values; further workers must not draw
    # those of the first one
    seed = crc32(plan.name.encode()) ^ (os.getpid() if exists else 0)
    study = optuna.create_study(
        storage=storage,
        study_name=plan.name,
        sampler=_sampler(seed, len(plan.objectives) > 1),
        pruner=pruner,
        directions=list(plan.directions),
        load_if_exists=True,
    )
    recorded = study.user_attrs.get("plan")
    if recorded is None:
        study.set_user_attr("plan", plan.described)
    elif difference := plan_difference(recorded, plan.described):
        raise UserError(
            f"study={plan.name} exists already with {difference}; expected the same plan, to "
            f"resume it, or another name, e.g. study={plan.name}_2"
        )
    return study


def _sampler(seed: int, for_front: bool) -> optuna.samplers.BaseSampler:
    if not for_front:
        return optuna.samplers.TPESampler(seed=seed, multivariate=True)
    with warnings.catch_warnings():
        # `gamma` will be removed in Optuna 6; pyproject.toml requires an earlier one
        warnings.simplefilter("ignore", FutureWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            n_startup_trials=8,
            gamma=lambda count: math.ceil(GOOD * count),
        )


def plan_difference(recorded: Mapping[str, Any], planned: Mapping[str, Any]) -> str:
    """Return how two plans differ, in words; empty if they do not.

    A space recorded in the old form of `moesuite.tune.sweep_grammar` equals the same in the new.
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


def trial_limit(study: optuna.Study, budget: int) -> int:
    """Return the first trial number beyond the budget; lost trials do not count."""
    trials = study.get_trials(deepcopy=False)
    beyond = {trial.number for trial in trials if trial.user_attrs.get(BEYOND)}
    return budget + len(beyond | lost_trials(study))


def is_open(study: optuna.Study, budget: int) -> bool:
    """Return whether there are trials left to start."""
    trials = study.get_trials(deepcopy=False)
    waiting = any(trial.state == TrialState.WAITING for trial in trials)
    return waiting or len(trials) < trial_limit(study, budget)


def is_feasible(trial: FrozenTrial) -> bool:
    """Return whether a trial satisfies all constraints."""
    return all(value <= 0 for value in trial.constraints.values())


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the best feasible trial, or the front of quality and cost; empty if there is none."""
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    feasible = [trial for trial in complete if is_feasible(trial)]
    maximize = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
    if len(study.directions) == 1:
        sign = -1 if maximize else 1
        return sorted(feasible, key=lambda trial: (sign * trial.values[0], trial.number))[:1]
    costs = [trial.values[1] for trial in feasible]
    qualities = [trial.values[0] for trial in feasible]
    on_front = pareto(costs, qualities, "max" if maximize else "min")
    return [trial for trial, on in zip(feasible, on_front, strict=True) if on]
