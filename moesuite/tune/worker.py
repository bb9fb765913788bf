"""The work of one worker on one study: trials until the budget is spent, then the winner on fresh seeds."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from moesuite.config.compose import composed, to_config, varied
from moesuite.config.discovery import checked_options
from moesuite.config.run_command import reproduce, words_of
from moesuite.config.schema import RunConfig
from moesuite.errors import RunFailed, UserError
from moesuite.records.store import study_journal, write_study
from moesuite.records.study import FreshRun, StudyRecord
from moesuite.routers import router_class
from moesuite.train.build import declare_task
from moesuite.train.fit import fit
from moesuite.tune.arguments import NO_WINNER, Asked, command_of, of_each_router, parse
from moesuite.tune.heartbeat import alive, claims_winner, recover
from moesuite.tune.report import shown, study_record
from moesuite.tune.search_space import read_space
from moesuite.tune.study import (
    BEYOND,
    FRESH,
    WINNER,
    WINNER_OF,
    Patience,
    Plan,
    allowed,
    best,
    is_open,
    open_storage,
    open_study,
)
from moesuite.tune.trial import LIMITS, Search, directions, objective, parse_objectives, run_trial

WINNER_SEED = 1000  # first of the fresh seeds
POLL = 1.0  # seconds between looks at trials of other workers


def search(asked: Asked) -> StudyRecord:
    """Work on a study until its budget is spent; the worker that ends last runs the winner.

    Raises:
        UserError: for bad input, before a trial begins, or a storage that cannot be reached.
    """
    console = Console(stderr=True)
    plan, found, config = planned(asked)
    where = asked.values["storage"] or str(study_journal(asked.records, plan.name))
    patiently = Patience(where, lambda line: console.print(line, soft_wrap=True, highlight=False))
    optuna.logging.set_verbosity(logging.WARNING)
    study = patiently(lambda: open_study(plan, open_storage(where), pruner(asked.values["pruner"])))
    budget, seeds = int(asked.values["trials"]), int(asked.values["winner"])
    write = partial(_write, asked, plan, found, config, study)
    ends = seeds > 0 and len(plan.objectives) == 1  # with the winner, once nobody has a trial
    if seeds > 0 and not ends:
        console.print(f"no winner: {NO_WINNER}", soft_wrap=True, highlight=False, markup=False)
    if not patiently(lambda: is_open(study, budget)) and (
        not ends or patiently(lambda: has_winner(study, seeds))
    ):
        line = (
            f"study {plan.name}: its {budget} trials are recorded already; "
            "type trials=<more>, or study=<another name>"
        )
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    while patiently(lambda: is_open(study, budget)) or (
        ends and patiently(lambda: others_work(study))
    ):
        if patiently(lambda: is_open(study, budget)):
            patiently(lambda: one_trial(found, study, budget, console))
            patiently(write)
        else:
            time.sleep(POLL)
    while ends and not patiently(lambda: has_winner(study, seeds)):
        if patiently(lambda: claims_winner(study)):
            winners = patiently(lambda: best(study))
            with alive(study):
                runs = rerun(found, winners, seeds, console)
            patiently(partial(keep_winner, study, winners, seeds, runs))
        else:
            time.sleep(POLL)
    return patiently(write)


def work(words: Sequence[str]) -> None:
    """Be one of the workers that a command asks for."""
    for one in of_each_router(parse(words)):
        search(one)


def one_trial(found: Search, study: optuna.Study, budget: int, console: Console) -> None:
    """Run the next trial, if there is one left: one that another worker lost before a new one."""
    if lost := recover(study):
        console.print(f"{lost} trial{'s' * (lost > 1)} of workers that died: run again")
    trial = study.ask()
    if trial.number >= allowed(study, budget):  # another worker took the last one
        trial.set_user_attr(BEYOND, True)
        study.tell(trial, state=TrialState.FAIL)
        return
    run_trial(found, study, trial)
    tell(console, study, trial.number, budget)


def planned(asked: Asked) -> tuple[Plan, Search, RunConfig]:
    """Return what is to be done; every check of the command happens here."""
    objectives = parse_objectives(asked.values["objective"])
    limits = {key: limit(key, asked.values[key]) for key in LIMITS if asked.values[key]}
    words = (f"router={asked.router}", *asked.words)
    if (
        "latency" not in objectives
        and "max_ms" not in limits
        and not any(w.startswith("measure=") for w in words)
    ):
        words += ("measure=false",)
    base = composed(*words)
    config = to_config(base)
    space = read_space(asked.values["tune"] or None, asked.own, asked.router)
    for parameter in (
        space
    ):  # an option that does not exist, or a value out of its range, is told before any trial
        for value in parameter.values:
            check_router(varied(base, {parameter.name: value}))
    if not config.measure and (
        timed := [name for name in ("latency", "max_ms") if name in (*objectives, *limits)]
    ):
        raise UserError(f"{timed[0]} with measure=false: no run is timed; type measure=true")
    name = asked.values["study"] or "_".join(
        filter(None, (config.task["name"], asked.router, asked.values["tune"]))
    )
    larger = declare_task(config.task).primary.direction == "max"
    kept = tuple(word for word in words if not word.startswith("records="))
    plan = Plan(name, space, objectives, directions(objectives, larger), kept)
    return plan, Search(name, words, base, space, objectives, limits), config


def check_router(config: RunConfig) -> None:
    """Refuse options that a router does not have, or values that it does not take."""
    checked_options(router_class(config.router["name"]).__init__, config.router_options, "router")


def limit(key: str, text: str) -> float:
    """Return a limit; raises `UserError` for what is no positive number."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"{key}={text}: allowed are numbers from 0 on; type for example {key}=1")
    return value


def pruner(name: str) -> optuna.pruners.BasePruner:
    """Return what stops trials early."""
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    return optuna.pruners.HyperbandPruner() if name == "hyperband" else optuna.pruners.NopPruner()


def tell(console: Console, study: optuna.Study, number: int, budget: int) -> None:
    """Say how a trial ended."""
    trial = study.get_trials(deepcopy=False)[number]
    values = ", ".join(f"{value:.4g}" for value in trial.values or []) or trial.user_attrs.get(
        "reason", ""
    )
    options = ", ".join(f"{name}={shown(value)}" for name, value in trial.params.items())
    line = f"[{number + 1}/{budget}] {trial.state.name.lower()}  {values}  {options}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def others_work(study: optuna.Study) -> bool:
    """Return whether other workers have trials; those of workers that died are there to be run again."""
    recover(study)
    return any(trial.state == TrialState.RUNNING for trial in study.get_trials(deepcopy=False))


def has_winner(study: optuna.Study, seeds: int) -> bool:
    """Return whether what is best now was run on so many fresh seeds."""
    return bool(study.user_attrs.get(WINNER_OF) == [[trial.number for trial in best(study)], seeds])


def keep_winner(
    study: optuna.Study, winners: Sequence[FrozenTrial], seeds: int, runs: Sequence[FreshRun]
) -> None:
    """Keep the runs of what was best when they began."""
    study.set_user_attr(WINNER, [run.run for run in runs])
    study.set_user_attr(FRESH, [run.model_dump() for run in runs])
    study.set_user_attr(WINNER_OF, [[trial.number for trial in winners], seeds])


def rerun(
    found: Search, winners: Sequence[FrozenTrial], seeds: int, console: Console
) -> list[FreshRun]:
    """Run the best options on fresh seeds, for what is best of many is too good by luck."""
    runs = []
    for winner in winners:
        for seed in range(WINNER_SEED, WINNER_SEED + seeds):
            options = {**winner.params, "study": found.study, "seed": seed}
            command = reproduce([*found.words, *words_of(options)])
            try:
                record, path = fit(varied(found.base, options), command)
            except (RunFailed, UserError) as error:
                console.print(f"seed {seed} of the winner failed: {error}")
                continue
            test = record.quality[record.primary].value
            console.print(f"winner, seed {seed}: {record.primary} {test:.4g}")
            runs.append(
                FreshRun(run=path.stem, seed=seed, search=objective(record, "quality"), test=test)
            )
    return runs


def _write(
    asked: Asked, plan: Plan, found: Search, config: RunConfig, study: optuna.Study
) -> StudyRecord:
    record = study_record(
        plan, found, study, config, command_of(asked), int(asked.values["trials"])
    )
    write_study(asked.records, record)
    return record
