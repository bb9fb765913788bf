"""The record of a study, for the leaderboard, and its end on the console."""

from __future__ import annotations

import warnings
from functools import partial
from statistics import fmean

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from moesuite.config.schema import RunConfig
from moesuite.records.study import SETTINGS, FreshRun, StudyRecord, TrialRecord
from moesuite.tune.study import BEYOND, FRESH, WINNER, Plan, best, feasible
from moesuite.tune.trial import Search


def study_record(
    plan: Plan, found: Search, study: optuna.Study, config: RunConfig, command: str, budget: int
) -> StudyRecord:
    """Return the record of a study as it stands; its winner is empty before the end."""
    trials = [
        trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(BEYOND)
    ]
    over = not any(trial.state in (TrialState.RUNNING, TrialState.WAITING) for trial in trials)
    return StudyRecord(
        name=plan.name,
        task=config.task["name"],
        router=config.router["name"],
        command=command,
        budget=budget,
        space=plan.described["space"],
        objectives=list(plan.objectives),
        directions=list(plan.directions),
        constraints=found.limits,
        trials=[_trial(trial) for trial in trials],
        best=[trial.number for trial in best(study)],
        ties=ties(study),
        settings=len(distinct(study)),
        importances=importances(study, plan.objectives) if over and len(trials) >= budget else {},
        winner=study.user_attrs.get(WINNER, []),
        fresh=[FreshRun.model_validate(run) for run in study.user_attrs.get(FRESH, [])],
    )


def ties(study: optuna.Study) -> list[list[int]]:
    """Return the trials within the constraints that reached the very same as a best one, by groups of at least two."""
    groups: dict[tuple[float, ...], list[int]] = {tuple(trial.values): [] for trial in best(study)}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if feasible(trial) and (reached := tuple(trial.values)) in groups:
            groups[reached].append(trial.number)
    return [group for group in groups.values() if len(group) > 1]


def distinct(study: optuna.Study) -> set[str]:
    """Return the different options of the trials that finished."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return {repr(sorted(trial.params.items())) for trial in done}


def _trial(trial: FrozenTrial) -> TrialRecord:
    kept = trial.user_attrs
    return TrialRecord(
        number=trial.number,
        state=trial.state.name.lower(),
        params=trial.params,
        values=list(trial.values) if trial.values else None,
        violated=[name for name, over in trial.constraints.items() if over > 0],
        steps=list(trial.intermediate_values.items())
        or [tuple(point) for point in kept.get("points", [])],
        run=kept.get("run", ""),
        command=kept.get("command", ""),
        reason=kept.get("reason", ""),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        retry_of=kept.get("retry_of"),
    )


def importances(study: optuna.Study, objectives: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Return how much of each objective's variance the parameters explain (fANOVA).

    Empty for fewer than `SETTINGS` different options of finished trials, and for one parameter.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if (
        len(distinct(study)) < SETTINGS
        or len({name for trial in done for name in trial.params}) < 2
    ):
        return {}
    found = {}
    for index, name in enumerate(objectives):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                shares = get_param_importances(
                    study,
                    evaluator=FanovaImportanceEvaluator(seed=0),
                    target=partial(_value, index),
                )
            except (RuntimeError, ValueError):  # all values are the same
                continue
        found[name] = {parameter: round(share, 4) for parameter, share in shares.items()}
    return found


def _value(index: int, trial: FrozenTrial) -> float:
    return trial.values[index]


def shown(value: object) -> str:
    """Return a parameter as a reader needs it; commands have all digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show(record: StudyRecord) -> None:
    """Print the best trials of a study."""
    console = Console()
    table = Table(title=f"{record.name}: {len(record.trials)} trials", title_justify="left")
    for heading in ("trial", *record.objectives, *record.space):
        table.add_column(heading)
    chosen = {trial.number: trial for trial in record.trials}
    for number in record.best:
        trial = chosen[number]
        values = [f"{value:.4g}" for value in trial.values or []]
        table.add_row(
            str(number), *values, *(shown(trial.params.get(name, "–")) for name in record.space)
        )
    console.print(table)
    for line in remarks(record):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if not record.best:
        console.print("no trial finished within the constraints")
    states = {
        state: sum(trial.state == state for trial in record.trials) for state in ("pruned", "fail")
    }
    console.print(
        ", ".join(f"{count} {state}" for state, count in states.items() if count)
        or "all trials finished"
    )


def remarks(record: StudyRecord) -> list[str]:
    """Return what a reader of the best trials has to know: ties, and what fresh seeds say."""
    lines = [
        f"tied, with the very same values: trials {', '.join(map(str, group))}"
        for group in record.ties
    ]
    chosen = {trial.number: trial for trial in record.trials}
    if record.fresh and len(record.best) == 1 and (values := chosen[record.best[0]].values):
        search, test = (
            fmean(getattr(run, split) for run in record.fresh) for split in ("search", "test")
        )
        seeds = f"{len(record.fresh)} fresh seed{'s' * (len(record.fresh) > 1)}"
        lines.append(
            f"trial {record.best[0]}: {values[0]:.4g} in the search, the best of {len(record.trials)}; on {seeds} "
            f"{search:.4g}, and {test:.4g} on the test split"
        )
    return lines
