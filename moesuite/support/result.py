"""What was found of each model, and the file that keeps it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from moesuite.config.options import Section, checked
from moesuite.errors import UserError
from moesuite.records.store import write_text

Library = Literal["timm", "hf"]
Status = Literal["fine", "refused", "unsupported", "crash", "wrong"]
# the worst first: a model that is fine when upcycled and wrong when rerouted is wrong
WORST = ("crash", "wrong", "fine", "refused", "unsupported")
LIBRARIES = ("timm", "transformers", "torch")


class Outcome(Section):
    """What came of one way to put MoE layers into a model.

    `fine`: every check passed; `refused`: our error, in `detail`; `unsupported`: the sweep cannot
    build or call a small one; `crash`: an error that is not ours; `wrong`: a check failed.
    """

    status: Status
    detail: str = ""
    layers: int = 0


class Result(Section):
    """One model: a family of timm, or a model type of transformers."""

    library: Library
    name: str
    model: str = ""
    upcycle: Outcome
    reroute: Outcome | None = None
    seconds: float = 0.0

    @property
    def status(self) -> Status:
        """The worst of both outcomes."""
        outcomes = [each.status for each in (self.upcycle, self.reroute) if each is not None]
        return min(outcomes, key=WORST.index)


class Report(Section):
    """Results, and the versions of the libraries that they hold for."""

    versions: dict[str, str]
    results: list[Result] = []

    def put(self, result: Result) -> None:
        """Add a result, or replace that of the same model; in the order of names."""
        key = (result.library, result.name)
        rest = [each for each in self.results if (each.library, each.name) != key]
        self.results = sorted([*rest, result], key=lambda each: (each.library, each.name))

    def get(self, library: str, name: str) -> Result | None:
        """Return the result of a model, or None."""
        same = (each for each in self.results if (each.library, each.name) == (library, name))
        return next(same, None)


def installed() -> dict[str, str]:
    """Return the versions of the libraries whose models are tried."""
    return {name: version(name).partition("+")[0] for name in LIBRARIES}


def read(path: Path) -> Report:
    """Read a file of results.

    Raises:
        UserError: for a file of another kind.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict):
        raise UserError(
            f"{path}: not a file of results; expected what python -m moesuite.support wrote, or a "
            "name that is not taken; type for example results=support.json"
        )
    return checked(Report, values, str(path))


def write(report: Report, path: Path) -> None:
    """Write a file of results, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(
        "  " + json.dumps(each.model_dump(exclude_defaults=True), ensure_ascii=False)
        for each in report.results
    )
    text = f'{{"versions": {json.dumps(report.versions)},\n "results": [\n{rows}\n]}}\n'
    write_text(path, text)
