"""One trial: a normal run with a normal record, its objectives, constraints and pruning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import optuna
from omegaconf import DictConfig
from optuna.trial import Trial, TrialState

from moesuite.config.compose import varied
from moesuite.config.run_command import reproduce, words_of
from moesuite.errors import Pruned, RunFailed, UserError
from moesuite.records.identity import identity
from moesuite.records.record import RunRecord, dropped_under_capacity
from moesuite.train.build import shared_task
from moesuite.train.fit import fit
from moesuite.tune.heartbeat import alive
from moesuite.tune.space.search_space import Space

# names of `measured_cost` by the options that limit them
LIMITS = {"max_gflop": "gflop", "max_ms": "ms", "max_dropped": "dropped_under_capacity"}


@dataclass(frozen=True)
class Search:
    """What all trials of a study share.

    Attributes:
        study: its name.
        words: overrides of every run.
        base: the configuration that they compose.
        space: what is searched.
        objectives: quality, then maybe flops or latency.
        limits: largest GFLOP, ms and share of tokens dropped under the training capacity, by
            option.
    """

    study: str
    words: tuple[str, ...]
    base: DictConfig
    space: Space
    objectives: tuple[str, ...]
    limits: dict[str, float]


def run_trial(search: Search, study: optuna.Study, trial: Trial) -> None:
    """Run one trial and tell the study how it ended.

    A run that fails, or options that do not fit together, fail the trial and nothing else.

    Raises:
        UpdateFinishedTrialError: if other workers took this one for dead meanwhile.
    """
    options = {parameter.name: parameter.suggest(trial) for parameter in search.space}
    options |= {"study": search.study, "trial": trial.number}
    command = reproduce([*search.words, *words_of(options)])
    trial.set_user_attr("command", command)
    points: list[tuple[int, float]] = []

    def watch(step: int, quality: float) -> None:
        points.append((step, quality))
        if len(search.objectives) > 1:  # Optuna does not prune these
            return
        trial.report(quality, step)
        if trial.should_prune():
            raise Pruned(
                f"pruned at step {step}: {quality:.4g} is no better than earlier trials there"
            )

    with alive(trial):
        try:
            config = varied(search.base, options)
            task = shared_task(config.task)
            trial.set_user_attr("run", identity(config.resolved(), task).id)
            record, _ = fit(config, command, watch)
        except Pruned as error:
            trial.set_user_attr("reason", str(error))
            study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
            return
        except (RunFailed, UserError) as error:
            trial.set_user_attr("reason", str(error))
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            return
        trial.set_user_attr("points", points)
        for key, limit in search.limits.items():
            trial.set_constraint(key, measured_cost(record, LIMITS[key]) - limit)
        study.tell(
            trial,
            [objective_value(record, name) for name in search.objectives],
            skip_if_finished=True,
        )


def objective_value(record: RunRecord, name: str) -> float:
    """Return the value of an objective: quality, flops or latency of a finished run.

    Quality is of the last evaluation on the validation split, never of the test split unless the
    task has no other.

    Raises:
        UserError: for the latency of a run that was not measured.
    """
    if name == "quality":
        return record.curve[-1].quality if record.curve else record.quality[record.primary].value
    return measured_cost(record, {"flops": "gflop", "latency": "ms"}[name])


def measured_cost(record: RunRecord, name: str) -> float:
    """Return GFLOP executed, ms of a batch, or the mean share of tokens dropped in training.

    A router without a training capacity leaves the same share of tokens without an expert in every
    evaluation; that share counts instead.

    Args:
        record: of a finished run.
        name: gflop, ms or dropped_under_capacity.

    Raises:
        UserError: for a run that was not measured.
    """
    if name == "dropped_under_capacity":
        dropped = dropped_under_capacity(record.health)
        if dropped is None:
            return sum(layer.unserved for layer in record.health) / max(1, len(record.health))
        return dropped
    compute = record.compute
    if compute is None or (name == "ms" and compute.latency is None):
        raise UserError(f"{name} of a run that was not measured; type measure=true")
    if name == "gflop":
        return compute.executed.total / 1e9
    assert compute.latency is not None
    return 1000 * compute.latency.median


def directions(
    names: Sequence[str], larger_is_better: bool
) -> tuple[Literal["maximize", "minimize"], ...]:
    """Return the direction of each objective; costs are minimized."""
    quality: Literal["maximize", "minimize"] = "maximize" if larger_is_better else "minimize"
    return tuple(quality if name == "quality" else "minimize" for name in names)
