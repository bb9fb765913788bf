"""A study: trials in a storage that outlives its workers.

Any number of workers may share one, and each may die at any time.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from zlib import crc32

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from moesuite.errors import UserError
from moesuite.records.study import FreshRun
from moesuite.statistics.significance import pareto
from moesuite.tune.heartbeat import BEYOND, lost_trials
from moesuite.tune.space.search_space import Space
from moesuite.tune.space.sweep_grammar import canonical

# Share of trials that count as good when a front is searched: Optuna's default, a tenth, leaves 3
# of 30, too few to span a front.
GOOD = 0.25
# user attributes
WINNER = "winner"  # of a study: ids of the runs of its winner
WINNER_OF = "winner_of"  # of a study: the trials that these runs repeat, and on how many seeds
FRESH = "winner_fresh"  # of a study: what these runs reached


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

    A space recorded in the old form of `sweep_grammar` equals the same in the new.
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


def has_winner(study: optuna.Study, seeds: int) -> bool:
    """Return whether the present best trial was run on so many fresh seeds."""
    numbers = [trial.number for trial in best_trials(study)]
    return bool(study.user_attrs.get(WINNER_OF) == [numbers, seeds])


def store_winner(
    study: optuna.Study, winners: Sequence[FrozenTrial], seeds: int, runs: Sequence[FreshRun]
) -> None:
    """Store the runs of the trials that were best when these runs began."""
    study.set_user_attr(WINNER, [run.run for run in runs])
    study.set_user_attr(FRESH, [run.model_dump() for run in runs])
    study.set_user_attr(WINNER_OF, [[trial.number for trial in winners], seeds])
