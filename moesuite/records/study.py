"""Record of a study: trials, the best ones, and their quality on fresh seeds. No torch."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from moesuite.records.compute import StrictModel

# distinct settings that parameter importances need: a forest on fewer points fits their noise
SETTINGS = 10


class TrialRecord(StrictModel):
    """One trial of a study.

    Attributes:
        state: complete, pruned, fail, running or waiting.
        values: of the objectives, or None.
        violated: names of the violated constraints.
        run: id of its record.
        command: that runs it again.
        retry_of: the trial of a dead worker that this one repeats.
    """

    number: int
    state: str
    params: dict[str, Any]
    values: list[float] | None
    violated: list[str] = []
    steps: list[tuple[int, float]] = []
    run: str = ""
    command: str = ""
    reason: str = ""
    seconds: float | None = None
    retry_of: int | None = None


class FreshRun(StrictModel):
    """The best trial's options on a fresh seed.

    Attributes:
        run: id of its record.
        search: quality as the search measures it: last evaluation on the validation split.
        test: quality on the test split.
    """

    run: str
    seed: int
    search: float
    test: float


class StudyRecord(StrictModel):
    """Outcome of a study: `<records>/studies/<name>.json`, rewritten after each trial.

    Attributes:
        command: that continues the study.
        budget: number of trials.
        space: search space, as it was written, by parameter.
        objectives, directions: names and directions of the values.
        constraints: largest allowed value by name.
        best: numbers of the best trial, or of the Pareto front.
        ties: groups of at least two feasible trials with equal objectives.
        settings: number of distinct settings among finished trials.
        importances: of the parameters for each objective, summing to 1; empty for one parameter,
            and below `SETTINGS` distinct settings.
        winner: ids of the runs of the best setting on fresh seeds.
        fresh: quality of these runs, beside what the search saw.
    """

    schema_version: int = 1
    name: str
    task: str
    router: str
    command: str
    budget: int
    space: dict[str, str]
    objectives: list[str]
    directions: list[str]
    constraints: dict[str, float]
    trials: list[TrialRecord]
    best: list[int]
    ties: list[list[int]] = []
    settings: int = 0
    importances: dict[str, dict[str, float]] = {}
    winner: list[str] = []
    fresh: list[FreshRun] = []

    @model_validator(mode="after")
    def _agree(self) -> StudyRecord:
        counts = {len(self.directions)} | {
            len(trial.values) for trial in self.trials if trial.values is not None
        }
        if counts != {len(self.objectives)} or "quality" not in self.objectives:
            raise ValueError(
                "a direction, and a value of each trial, for every objective, quality among them"
            )
        return self
