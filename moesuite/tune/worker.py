"""One worker of a study: trials until the budget is spent, then the winner on fresh seeds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from moesuite.config.compose import composed, to_config, varied
from moesuite.config.options import checked_options
from moesuite.config.run_command import reproduce, words_of
from moesuite.config.schema import RunConfig
from moesuite.errors import RunFailed, UserError, refuse_unwritable
from moesuite.records.store import study_journal, write_study
from moesuite.records.study import FreshRun, StudyRecord
from moesuite.routers import router_class
from moesuite.train.build import declare_task
from moesuite.train.fit import fit
from moesuite.tune.arguments import NO_WINNER, TuneCommand, commands_by_router, parse_command
from moesuite.tune.heartbeat import (
    BEYOND,
    alive,
    ask,
    claims_winner,
    others_work,
    recover,
)
from moesuite.tune.report import format_value, study_record
from moesuite.tune.space.search_space import read_space
from moesuite.tune.storage import Patience, open_storage
from moesuite.tune.study import (
    Plan,
    best_trials,
    has_winner,
    is_open,
    open_study,
    store_winner,
    trial_limit,
)
from moesuite.tune.trial import LIMITS, Search, directions, objective_value, run_trial

WINNER_SEED = 1000  # first of the fresh seeds
POLL = 1.0  # seconds between two looks at the trials of other workers


@dataclass(frozen=True)
class Worker:
    """One worker: what it searches, the study it shares with others, and how it reaches it.

    Attributes:
        search: what every trial shares.
        study: in its storage.
        budget: trials of all workers.
        seeds: fresh ones for the winner; 0: no winner.
        patiently: calls what needs the storage.
        console: for progress.
    """

    search: Search
    study: optuna.Study
    budget: int
    seeds: int
    patiently: Patience
    console: Console

    @property
    def is_open(self) -> bool:
        """Whether there are trials left to start."""
        return self.patiently(partial(is_open, self.study, self.budget))

    @property
    def has_winner(self) -> bool:
        """Whether the winner is not wanted, or was run already on so many fresh seeds."""
        return not self.seeds or self.patiently(partial(has_winner, self.study, self.seeds))

    @property
    def waits(self) -> bool:
        """Whether trials of other workers run, which this one runs again if they are lost."""
        return self.patiently(partial(others_work, self.study))

    def run_trials(self, then: Callable[[], object]) -> None:
        """Run trials until the budget is spent and nobody has one.

        Args:
            then: called after each of this worker.
        """
        while self.is_open or self.waits:
            if self.is_open:
                self.patiently(self.next_trial)
                self.patiently(then)
            else:
                time.sleep(POLL)

    def next_trial(self) -> None:
        """Run the next trial, if one is left: one of a dead worker before a new one."""
        if lost := recover(self.study):
            self.console.print(f"{lost} trial{'s' * (lost > 1)} of workers that died: run again")
        trial = ask(self.study)
        try:
            if trial.number >= trial_limit(self.study, self.budget):  # another took the last one
                trial.set_user_attr(BEYOND, True)
                self.study.tell(trial, state=TrialState.FAIL)
                return
            run_trial(self.search, self.study, trial)
        except UpdateFinishedTrialError:
            self.console.print(f"trial {trial.number}: taken for lost, and given to another worker")
            return
        print_trial(self.console, self.study, trial.number, self.budget)

    def run_winner(self) -> None:
        """Run the winner, unless another worker does."""
        if not self.patiently(partial(claims_winner, self.study)):
            time.sleep(POLL)
            return
        winners = self.patiently(partial(best_trials, self.study))
        with alive(self.study):
            runs = rerun(self.search, winners, self.seeds, self.console)
        self.patiently(partial(store_winner, self.study, winners, self.seeds, runs))


def search(command: TuneCommand) -> StudyRecord:
    """Work on a study until its budget is spent; the worker that ends last runs the winner.

    Raises:
        UserError: for bad input, before a trial begins, or a storage that cannot be reached.
    """
    console, options = Console(stderr=True), command.options
    refuse_unwritable(command.records, f"records={command.records}")
    print_line = partial(console.print, soft_wrap=True, highlight=False, markup=False)
    plan, shared, config = plan_study(command)
    storage = options.storage or str(study_journal(command.records, plan.name))
    patiently = Patience(storage, print_line)
    optuna.logging.set_verbosity(logging.WARNING)
    study = patiently(lambda: open_study(plan, open_storage(storage), pruner(options.pruner)))
    if options.winner and len(plan.objectives) > 1:
        print_line(f"no winner: {NO_WINNER}")
    seeds = options.winner if len(plan.objectives) == 1 else 0
    worker = Worker(shared, study, options.trials, seeds, patiently, console)

    def write() -> StudyRecord:
        record = study_record(plan, shared, study, config, command.line, options.trials)
        write_study(command.records, record)
        return record

    if not (worker.waits or worker.is_open) and worker.has_winner:
        print_line(
            f"study {plan.name}: its {options.trials} trials are recorded already; "
            "type trials=<more>, or study=<another name>"
        )
    worker.run_trials(then=write)
    while not worker.has_winner:
        worker.run_winner()
    return patiently(write)


def work(typed: Sequence[str]) -> None:
    """Run one worker process.

    Args:
        typed: the command line.
    """
    for command in commands_by_router(parse_command(typed)):
        search(command)


def plan_study(command: TuneCommand) -> tuple[Plan, Search, RunConfig]:
    """Return the plan of a study, what its trials share, and their configuration.

    Raises:
        UserError: for an option that does not exist, or a value out of its range.
    """
    options = command.options
    objectives = tuple(options.objective.split(","))
    limits = {name: getattr(options, name) for name in LIMITS}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    words = (f"router={options.router}", *command.words)
    timed = [name for name in ("latency", "max_ms") if name in (*objectives, *limits)]
    if not timed and not any(word.startswith("measure=") for word in words):
        words += ("measure=false",)
    base = composed(*words)
    config = to_config(base)
    space = read_space(options.tune, options.space, options.router)
    for parameter in space:
        for value in parameter.values:  # both ends of a range
            check_router(varied(base, {parameter.name: value}))
    if timed and not config.measure:
        raise UserError(f"{timed[0]} with measure=false: no run is timed; type measure=true")
    names = (config.task["name"], options.router, options.tune)
    name = options.study or "_".join(part for part in names if part)
    larger_is_better = declare_task(config.task).primary.direction == "max"
    plan = Plan(
        name,
        space,
        objectives,
        directions(objectives, larger_is_better),
        tuple(word for word in words if not word.startswith("records=")),
    )
    return plan, Search(name, words, base, space, objectives, limits), config


def check_router(config: RunConfig) -> None:
    """Refuse options that the router does not have, and values that it does not take."""
    checked_options(router_class(config.router["name"]).__init__, config.router_options, "router")


def pruner(name: str) -> optuna.pruners.BasePruner:
    """Return the pruner of trials."""
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner()
    return optuna.pruners.NopPruner()


def print_trial(console: Console, study: optuna.Study, number: int, budget: int) -> None:
    """Print how a trial ended."""
    trial = study.get_trials(deepcopy=False)[number]
    values = ", ".join(f"{value:.4g}" for value in trial.values or [])
    options = ", ".join(f"{name}={format_value(value)}" for name, value in trial.params.items())
    result = values or trial.user_attrs.get("reason", "")
    line = f"[{number + 1}/{budget}] {trial.state.name.lower()}  {result}  {options}"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def rerun(
    search: Search, winners: Sequence[FrozenTrial], seeds: int, console: Console
) -> list[FreshRun]:
    """Run the best options on fresh seeds: the best of many trials is optimistically biased."""
    runs = []
    for winner in winners:
        for seed in range(WINNER_SEED, WINNER_SEED + seeds):
            options = {**winner.params, "study": search.study, "seed": seed}
            command = reproduce([*search.words, *words_of(options)])
            try:
                record, path = fit(varied(search.base, options), command)
            except (RunFailed, UserError) as error:
                console.print(f"seed {seed} of the winner failed: {error}")
                continue
            test = record.quality[record.primary].value
            console.print(f"winner, seed {seed}: {record.primary} {test:.4g}")
            quality = objective_value(record, "quality")
            runs.append(FreshRun(run=path.stem, seed=seed, search=quality, test=test))
    return runs
