"""One trial: a normal run with a normal record, its objectives, its constraints, and when it is stopped early."""

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
from moesuite.tune.heartbeat import WORKER, alive, this_worker
from moesuite.tune.search_space import Space

OBJECTIVES = {
    "quality": "of the last evaluation on the validation split",
    "flops": "GFLOP executed",
    "latency": "ms",
}
LIMITS = {"max_gflop": "gflop", "max_ms": "ms", "max_dropped": "dropped_under_capacity"}


@dataclass(frozen=True)
class Search:
    """What every trial of a study shares.

    Attributes:
        study: its name; words: of every run; base: what they compose to.
        space: what is searched.
        objectives: quality, then maybe flops or latency.
        limits: largest allowed GFLOP, ms and share of tokens dropped under the training capacity,
            by option.
    """

    study: str
    words: tuple[str, ...]
    base: DictConfig
    space: Space
    objectives: tuple[str, ...]
    limits: dict[str, float]


def run_trial(search: Search, study: optuna.Study, trial: Trial) -> None:
    """Run one trial and tell the study how it ended; a run that fails, or options that do not fit, fail the trial."""
    options = {parameter.name: parameter.suggest(trial) for parameter in search.space}
    options |= {"study": search.study, "trial": trial.number}
    command = reproduce([*search.words, *words_of(options)])
    trial.set_user_attr("command", command)
    points: list[tuple[int, float]] = []

    def watch(step: int, quality: float) -> None:
        points.append((step, quality))
        if len(search.objectives) > 1:  # Optuna prunes single objectives only
            return
        trial.report(quality, step)
        if trial.should_prune():
            raise Pruned(
                f"pruned at step {step}: {quality:.4g} is no better than earlier trials were there"
            )

    trial.set_user_attr(WORKER, this_worker())
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
            trial.set_constraint(key, measured(record, LIMITS[key]) - limit)
        study.tell(
            trial, [objective(record, name) for name in search.objectives], skip_if_finished=True
        )


def objective(record: RunRecord, name: str) -> float:
    """Return what an objective is of a finished run.

    Raises:
        UserError: for latency of a run that was not measured.
    """
    if name == "quality":  # never of the test split, where there is another one
        return record.curve[-1].quality if record.curve else record.quality[record.primary].value
    return measured(record, {"flops": "gflop", "latency": "ms"}[name])


def measured(record: RunRecord, name: str) -> float:
    """Return GFLOP executed, ms of a batch, or the mean share of tokens dropped under the training capacity.

    A router without such a capacity leaves as many tokens without an expert in every evaluation.
    """
    compute = record.compute
    if name == "dropped_under_capacity":
        unserved = sum(layer.unserved for layer in record.health) / max(1, len(record.health))
        dropped = dropped_under_capacity(record.health)
        return unserved if dropped is None else dropped
    if compute is None or (name == "ms" and compute.latency is None):
        raise UserError(f"{name} of a run that was not measured; type measure=true")
    return compute.executed.total / 1e9 if name == "gflop" else 1000 * compute.latency.median  # type: ignore[union-attr]


def parse_objectives(text: str) -> tuple[str, ...]:
    """Return the objectives that are asked for.

    Raises:
        UserError: for an unknown one, or a combination that is not allowed.
    """
    names = tuple(text.split(","))
    if names not in (("quality",), ("quality", "flops"), ("quality", "latency")):
        raise UserError(
            f"objective={text}: allowed are quality, quality,flops and quality,latency; type for example "
            "objective=quality,flops"
        )
    return names


def directions(
    names: Sequence[str], larger_is_better: bool
) -> tuple[Literal["maximize", "minimize"], ...]:
    """Return the direction of each objective; costs are to be small."""
    quality: Literal["maximize", "minimize"] = "maximize" if larger_is_better else "minimize"
    return tuple(quality if name == "quality" else "minimize" for name in names)
