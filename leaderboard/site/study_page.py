"""The pages of studies; objectives travel to them by name."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from moesuite.leaderboard.ranking.board import slug
from moesuite.leaderboard.site.output_folder import Site
from moesuite.leaderboard.site.render import data, render
from moesuite.records.study import SETTINGS, StudyRecord, TrialRecord


def study_pages(site: Site, studies: Mapping[str, StudyRecord], runs: set[str]) -> list[str]:
    """Write the pages of studies; return the names of the files.

    Args:
        site: to write to.
        studies: by name.
        runs: ids of the runs that are shown, which the pages link to.
    """
    names = list[str]()
    for name, study in sorted(studies.items()):
        names.append(f"studies/{slug(name)}.html")
        page = render(
            "study.html",
            root="../",
            title=name,
            payload=data(payload_of(study, runs)),
            study=study,
            chosen=[
                named(study, trial)
                for number in study.best
                for trial in study.trials
                if trial.number == number
            ],
            fresh=fresh_of(study),
            no_importances=why_no_importances(study),
            task=slug(study.task),
            router=slug(study.router),
            runs=runs,
        )
        site.write(names[-1], page)
    return names


def payload_of(study: StudyRecord, runs: set[str]) -> dict[str, Any]:
    """Return what the page's script reads: values and directions by name of their objective."""
    known = {trial.run for trial in study.trials} | set(study.winner)
    return {
        **study.model_dump(),
        "directions": dict(zip(study.objectives, study.directions, strict=True)),
        "trials": [named(study, trial) for trial in study.trials],
        "runs": sorted(known & runs),
    }


def named(study: StudyRecord, trial: TrialRecord) -> dict[str, Any]:
    """Return a trial with its values by name of their objective, or None for values."""
    values = (
        None if trial.values is None else dict(zip(study.objectives, trial.values, strict=True))
    )
    return {**trial.model_dump(), "values": values}


def fresh_of(study: StudyRecord) -> dict[str, Any] | None:
    """Return what the best trial's options reached on fresh seeds, beside what the search saw.

    None if they were not run.
    """
    best = [trial for trial in study.trials if trial.number in study.best and trial.values]
    if not study.fresh or len(best) != 1 or best[0].values is None:
        return None
    return {
        "trial": best[0].number,
        "trials": sum(trial.values is not None for trial in study.trials),
        "searched": dict(zip(study.objectives, best[0].values, strict=True))["quality"],
        "search": statistics.fmean(run.search for run in study.fresh),
        "test": statistics.fmean(run.test for run in study.fresh),
        "runs": study.fresh,
    }


def why_no_importances(study: StudyRecord) -> str:
    """Return why a study has no importances; "" if it has, or if its search is not over."""
    if study.importances or len(study.trials) < study.budget:
        return ""
    if len(study.space) < 2:
        return "one parameter has nothing to share the variance with"
    if study.settings < SETTINGS:
        return f"{study.settings} different settings finished; importances need at least {SETTINGS}"
    return "the trials do not differ in what they reached"
