"""The record of a study, for the leaderboard: trials, what is best, and what that is worth on fresh seeds. No torch."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from moesuite.records.compute import StrictModel

# different options of finished trials, for importances: a forest on fewer points fits their noise
SETTINGS = 10


class TrialRecord(StrictModel):
    """One trial of a study.

    Attributes:
        state: complete, pruned, fail, running or waiting.
        values: of the objectives; None: there are none.
        violated: constraints that it does not keep.
        run: id of its record; command: what does it again.
        retry_of: the trial of a worker that died.
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
        search: quality as the search saw it of its trials: of the last evaluation on the validation
            split.
        test: quality on the test split.
    """

    run: str
    seed: int
    search: float
    test: float


class StudyRecord(StrictModel):
    """What a study searched and found: `<records>/studies/<name>.json`, written anew after each trial.

    Attributes:
        command: what goes on with it; budget: trials.
        space: parameters as they are written; objectives, directions: of the values.
        constraints: largest allowed value by name.
        best: numbers of the best trial, or of the front.
        ties: trials within the constraints with equal objectives, the best ones among them: by
            groups of at least two.
        settings: different options of the trials that finished.
        importances: of the parameters for each objective, shares of 1; empty for one parameter, and
            for fewer than `SETTINGS` different options.
        winner: ids of the runs of the best trial's options on fresh seeds.
        fresh: what these runs reached, beside what the search saw.
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
