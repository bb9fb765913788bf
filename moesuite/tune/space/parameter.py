"""One dimension of a search space: its range, its text, and the value that Optuna suggests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from moesuite.config.options import word

if TYPE_CHECKING:
    from optuna.trial import Trial


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search space.

    Attributes:
        name: dotted option of a run.
        kind: of its values.
        values: lowest and highest value, both included; of a choice, all of them.
        log: sampled on a logarithmic scale.
        step: between two values of a range; None: 1 for int, none for float.
    """

    name: str
    kind: Literal["float", "int", "choice"]
    values: tuple[Any, ...]
    log: bool = False
    step: int | float | None = None

    @property
    def text(self) -> str:
        """The parameter in Hydra's sweep grammar, numbers to six digits."""
        if self.kind == "choice":
            values = ", ".join(map(_plain, self.values))
            return values if None in self.values else f"choice({values})"
        low, high = self.values
        if self.kind == "int" or self.step is not None:
            stop = high + (1 if self.kind == "int" else self.step)
            ends = [low, stop] if self.step is None else [low, stop, self.step]
            sweep = f"range({', '.join(map(_plain, ends))})"
        else:
            sweep = f"interval({_plain(low)}, {_plain(high)})"
        return f"tag(log, {sweep})" if self.log else sweep

    def suggest(self, trial: Trial) -> Any:
        """Return the value for a trial."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.name, self.values)
        low, high = self.values
        if self.kind == "int":
            return trial.suggest_int(self.name, low, high, step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.name, low, high, step=self.step, log=self.log)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else word(value)
