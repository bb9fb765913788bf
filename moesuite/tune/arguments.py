"""What a tuning command asks for. Imports no torch, so that a mistyped word is told at once."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moesuite.config.discovery import router_names
from moesuite.errors import UserError, unknown
from moesuite.experiments.launchers import Launcher, parse_launcher
from moesuite.tune.search_space import read_space

DEFAULTS = {
    "tune": "",
    "trials": "30",
    "objective": "quality",
    "max_gflop": "",
    "max_ms": "",
    "max_dropped": "",
    "pruner": "none",
    "winner": "3",
    "study": "",
    "storage": "",
    "workers": "1",
}
NO_WINNER = (
    "a front has no single best trial to run on fresh seeds; type objective=quality max_gflop=<largest GFLOP allowed> "
    "or max_ms=<ms>, or winner=0"
)
PRUNERS = ("none", "median", "hyperband")
QUIET = ("trainer.enable_progress_bar=false", "logger=none")  # unless asked for


@dataclass(frozen=True)
class Asked:
    """A command: its own values, lines of the space, router, the words of every run, and where workers run."""

    values: dict[str, str]
    own: dict[str, str]
    router: str
    words: tuple[str, ...]
    given: tuple[str, ...]
    launcher: Launcher

    @property
    def records(self) -> Path:
        """Folder of run records."""
        return Path(self.launcher.records)


def parse(words: Sequence[str]) -> Asked:
    """Read the command line.

    Raises:
        UserError: for a value that is not allowed.
    """
    values, own, rest, router = dict(DEFAULTS), dict[str, str](), [], "token_choice"
    launcher, words = parse_launcher(words)
    for word in words:
        key, _, value = word.partition("=")
        if key in DEFAULTS:
            values[key] = value
        elif key.startswith("tune.space."):
            own[key.removeprefix("tune.space.")] = value
        elif key == "router":
            router = value
        elif key in ("seed", "trial") or word == "-m":
            raise UserError(
                f"{word}: a study sets it itself; type winner=<number of fresh seeds> for the seeds of its end"
            )
        else:
            rest.append(word)
    for key in ("trials", "winner", "workers"):
        if not values[key].isdecimal() or (key != "winner" and int(values[key]) < 1):
            raise UserError(
                f"{key}={values[key]}: allowed are whole numbers; type for example {key}={DEFAULTS[key]}"
            )
    if values["pruner"] not in PRUNERS:
        raise unknown("pruner", values["pruner"], PRUNERS, "pruner=median")
    if values["pruner"] != "none" and "," in values["objective"]:
        raise UserError(
            f"pruner={values['pruner']} with objective={values['objective']}: a trial that is behind in one "
            "objective may be on the front by the other, so these are not pruned; type pruner=none"
        )
    if (
        values["winner"] != "0"
        and "," in values["objective"]
        and any(word.startswith("winner=") for word in words)
    ):
        raise UserError(
            f"winner={values['winner']} with objective={values['objective']}: {NO_WINNER}"
        )
    quiet = [
        word
        for word in QUIET
        if not any(own_word.startswith(word.partition("=")[0]) for own_word in rest)
    ]
    return Asked(values, own, router, (*rest, *quiet), tuple(words), launcher)


def of_each_router(asked: Asked) -> list[Asked]:
    """Return the command of each router: for router=all of all that have something to search, with equal budgets."""
    if asked.router != "all":
        return [asked]
    found = []
    for router in router_names():
        try:
            read_space(asked.values["tune"] or None, asked.own, router)
        except UserError:
            continue
        study = asked.values["study"] and f"{asked.values['study']}_{router}"
        found.append(replace(asked, router=router, values={**asked.values, "study": study}))
    if not found:
        raise UserError(
            f"tune={asked.values['tune']}: no router has anything to search there; type tune=capacity"
        )
    return found


def command_of(asked: Asked) -> str:
    """Return the command of a study."""
    return shlex.join(["python", "-m", "moesuite.tune", *asked.given])
