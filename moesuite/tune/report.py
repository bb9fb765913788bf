"""The record of a study, and its summary on the console."""

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
from moesuite.tune.heartbeat import BEYOND, RETRY_OF
from moesuite.tune.study import FRESH, WINNER, Plan, best_trials, is_feasible
from moesuite.tune.trial import Search


def study_record(
    plan: Plan, search: Search, study: optuna.Study, config: RunConfig, command: str, budget: int
) -> StudyRecord:
    """Return the record of a study so far; its winner is empty until the search is over."""
    trials = [
        trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(BEYOND)
    ]
    unfinished = (TrialState.RUNNING, TrialState.WAITING)
    is_over = len(trials) >= budget and all(trial.state not in unfinished for trial in trials)
    return StudyRecord(
        name=plan.name,
        task=config.task["name"],
        router=config.router["name"],
        command=command,
        budget=budget,
        space=plan.described["space"],
        objectives=list(plan.objectives),
        directions=list(plan.directions),
        constraints=search.limits,
        trials=[_trial(trial) for trial in trials],
        best=[trial.number for trial in best_trials(study)],
        ties=ties(study),
        settings=len(distinct_settings(study)),
        importances=importances(study, plan.objectives) if is_over else {},
        winner=study.user_attrs.get(WINNER, []),
        fresh=[FreshRun.model_validate(run) for run in study.user_attrs.get(FRESH, [])],
    )


def ties(study: optuna.Study) -> list[list[int]]:
    """Return the feasible trials with exactly the values of a best one, in groups of two on."""
    groups: dict[tuple[float, ...], list[int]] = {
        tuple(trial.values): [] for trial in best_trials(study)
    }
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        values = tuple(trial.values)
        if is_feasible(trial) and values in groups:
            groups[values].append(trial.number)
    return [group for group in groups.values() if len(group) > 1]


def distinct_settings(study: optuna.Study) -> set[str]:
    """Return the different options of the complete trials."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return {repr(sorted(trial.params.items())) for trial in complete}


def _trial(trial: FrozenTrial) -> TrialRecord:
    attributes = trial.user_attrs
    points = [tuple(point) for point in attributes.get("points", [])]
    return TrialRecord(
        number=trial.number,
        state=trial.state.name.lower(),
        params=trial.params,
        values=list(trial.values) if trial.values else None,
        violated=[name for name, excess in trial.constraints.items() if excess > 0],
        steps=list(trial.intermediate_values.items()) or points,
        run=attributes.get("run", ""),
        command=attributes.get("command", ""),
        reason=attributes.get("reason", ""),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        retry_of=attributes.get(RETRY_OF),
    )


def importances(study: optuna.Study, objectives: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Return the share of each objective's variance that each parameter explains (fANOVA).

    Empty for fewer than `SETTINGS` different options of complete trials, and for one parameter.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = set[str]().union(*(trial.params for trial in complete))
    if len(distinct_settings(study)) < SETTINGS or len(names) < 2:
        return {}
    shares_of = dict[str, dict[str, float]]()
    for index, objective in enumerate(objectives):
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
        shares_of[objective] = {name: round(share, 4) for name, share in shares.items()}
    return shares_of


def _value(index: int, trial: FrozenTrial) -> float:
    return trial.values[index]


def format_value(value: object) -> str:
    """Return a parameter's value to four digits; commands have all of them."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_study(record: StudyRecord) -> None:
    """Print the best trials of a study."""
    console = Console()
    table = Table(title=f"{record.name}: {len(record.trials)} trials", title_justify="left")
    for heading in ("trial", *record.objectives, *record.space):
        table.add_column(heading)
    trials = {trial.number: trial for trial in record.trials}
    for number in record.best:
        trial = trials[number]
        values = [f"{value:.4g}" for value in trial.values or []]
        options = [format_value(trial.params.get(name, "–")) for name in record.space]
        table.add_row(str(number), *values, *options)
    console.print(table)
    for line in remarks(record):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if not record.best:
        console.print("no trial completed within the constraints")
    counts = {
        state: sum(trial.state == state for trial in record.trials) for state in ("pruned", "fail")
    }
    stopped = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    console.print(stopped or "all trials completed")


def remarks(record: StudyRecord) -> list[str]:
    """Return the lines that qualify the best trials: ties, and what fresh seeds reached."""
    lines = [
        f"tied, with exactly the same values: trials {', '.join(map(str, group))}"
        for group in record.ties
    ]
    if not record.fresh or len(record.best) != 1:
        return lines
    number = record.best[0]
    values = next(trial.values for trial in record.trials if trial.number == number)
    if values:
        search = fmean(run.search for run in record.fresh)
        test = fmean(run.test for run in record.fresh)
        seeds = f"{len(record.fresh)} fresh seed{'s' * (len(record.fresh) > 1)}"
        lines.append(
            f"trial {number}: {values[0]:.4g} in the search, the best of {len(record.trials)}; "
            f"on {seeds} {search:.4g}, and {test:.4g} on the test split"
        )
    return lines
