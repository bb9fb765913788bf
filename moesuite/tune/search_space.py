"""What a study searches: one line per parameter, as `conf/tune/*.yaml` and `tune.space.<option>=` say it.

    float(a, b)   log(a, b)   int(a, b)   choice(a, b, ...)   each maybe followed by: if router=<name>,<name>
    auto                      for router.<option>: its annotation's range, for router.*: all of them

An annotation may leave an end open. Then a number goes down to a tenth of its default and up to ten
times it, within what is allowed, on a logarithmic scale where both ends are above 0; an option that
may be None, and is, stays as it is.
"""

from __future__ import annotations

import inspect
import math
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from moesuite.config.discovery import CONF, router_defaults
from moesuite.errors import UserError, unknown
from moesuite.routers import router_class

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

FORMS = ("float", "log", "int", "choice")
LINE = re.compile(r"(?P<form>\w+)\((?P<values>.*)\)(?:\s+if\s+router=(?P<routers>[\w,.:/]+))?")
OPEN_END = 10  # times the default


@dataclass(frozen=True)
class Parameter:
    """One dimension of a space.

    Attributes:
        name: dotted option of a run.
        form: float, log, int or choice.
        values: both ends; of choice, all values.
    """

    name: str
    form: str
    values: tuple[Any, ...]

    @property
    def text(self) -> str:
        """The parameter as it is written in a space."""
        return f"{self.form}({', '.join(map(_plain, self.values))})"

    def suggest(self, trial: Trial) -> Any:
        """Return the value for a trial."""
        if self.form == "choice":
            return trial.suggest_categorical(self.name, self.values)
        low, high = self.values
        if self.form == "int":
            return trial.suggest_int(self.name, low, high)
        return trial.suggest_float(self.name, low, high, log=self.form == "log")

    def distribution(self) -> BaseDistribution:
        """Return what Optuna calls it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.form == "choice":
            return CategoricalDistribution(self.values)
        low, high = self.values
        return (
            IntDistribution(low, high)
            if self.form == "int"
            else FloatDistribution(low, high, log=self.form == "log")
        )


Space = list[Parameter]


def tune_files() -> dict[str, Path]:
    """Return the spaces of the package by name."""
    return {path.stem: path for path in sorted((CONF / "tune").glob("*.yaml"))}


def read_space(name: str | None, own: Mapping[str, str], router: str) -> Space:
    """Return the space of a study.

    Args:
        name: of a file in `conf/tune`, or the path of another one; None: only what the command line
            says.
        own: lines of the command line by option; they take the place of the file's.
        router: that is tuned; lines for others are left out.

    Raises:
        UserError: for a space that does not exist or is empty, or a line that says nothing.
    """
    lines: dict[str, str] = {}
    if name is not None:
        path = tune_files().get(name, Path(name))
        if not path.is_file():
            raise unknown("space", name, tune_files(), "tune=capacity, or tune=path/to/space.yaml")
        lines = {
            str(key): str(value) for key, value in (yaml.safe_load(path.read_text()) or {}).items()
        }
    parameters = [
        one for key, line in {**lines, **own}.items() for one in _parameters(key, line, router)
    ]
    if not parameters:
        raise UserError(
            f"tune={name}: nothing to search for router={router}; allowed: at least one parameter; type for example "
            "tune=capacity"
        )
    return parameters


def _parameters(name: str, line: str, router: str) -> Iterator[Parameter]:
    if line.strip() == "auto":
        yield from _of_router(name, router)
        return
    found = LINE.fullmatch(line.strip())
    if found is None or found["form"] not in FORMS:
        raise UserError(
            f"tune.space.{name}={line}: allowed are float(a,b), log(a,b), int(a,b), choice(a,b,...) and auto; type for "
            f"example tune.space.{name}='log(0.1,10)'"
        )
    if found["routers"] and router not in found["routers"].split(","):
        return
    if name.startswith("router.") and name.removeprefix("router.") not in router_defaults(router):
        raise unknown(
            f"option of router={router}",
            name.removeprefix("router."),
            router_defaults(router),
            "tune=router",
        )
    values = tuple(yaml.safe_load(f"[{found['values']}]"))
    yield checked(
        name, found["form"], tuple(map(_number, values)) if found["form"] != "choice" else values
    )


def _number(value: Any) -> Any:
    """Return 1e-3, which YAML takes for text, as a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def checked(name: str, form: str, values: tuple[Any, ...]) -> Parameter:
    """Return a parameter.

    Raises:
        UserError: for a range that is empty, not of numbers, or logarithmic and not above 0.
    """
    given = f"tune.space.{name}={form}({', '.join(map(_plain, values))})"
    if form == "choice":
        values = tuple(_number(value) for value in values)
        if len(values) < 2 or len({repr(value) for value in values}) < len(values):
            raise UserError(f"{given}: allowed are at least two values, all different")
        return Parameter(name, form, values)
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if len(values) != 2 or not numbers or not all(math.isfinite(value) for value in values):
        raise UserError(f"{given}: allowed are two numbers, the smaller one first")
    low, high = values
    if low >= high:
        raise UserError(
            f"{given}: the range is empty; allowed: the smaller number first, as {form}({high}, {low})"
        )
    if form == "log" and low <= 0:
        raise UserError(
            f"{given}: a logarithmic range begins above 0; type for example {form}({high / 100:g}, {high})"
        )
    if form == "int" and not all(float(value).is_integer() for value in values):
        raise UserError(f"{given}: allowed are whole numbers; type float({low}, {high}) for others")
    kind = int if form == "int" else float
    return Parameter(name, form, (kind(low), kind(high)))


def _plain(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _of_router(name: str, router: str) -> Iterator[Parameter]:
    """Yield the parameters of a router's own options, from the annotations of its signature."""
    wanted, defaults = name.removeprefix("router."), router_defaults(router)
    if wanted != "*" and wanted not in defaults:
        raise unknown(f"option of router={router}", wanted, defaults, "tune=router")
    hints = inspect.get_annotations(inspect.unwrap(router_class(router).__init__), eval_str=True)
    for option, default in defaults.items():
        if wanted in ("*", option) and (found := _range(hints.get(option), default)) is not None:
            yield Parameter(f"router.{option}", *found)


def _range(hint: Any, default: Any) -> tuple[str, tuple[Any, ...]] | None:
    """Return form and values of an annotated option; None where there is nothing to choose."""
    if get_origin(hint) in (Union, types.UnionType):
        if default is None:
            return None
        hint = next(inner for inner in get_args(hint) if inner is not type(None))
    if get_origin(hint) is Literal:
        return ("choice", get_args(hint)) if len(get_args(hint)) > 1 else None
    if hint is bool:
        return "choice", (False, True)
    limits = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    kind = get_args(hint)[0] if limits else hint
    if kind not in (int, float) or not default:
        return None
    low, high = _ends(limits, default)
    if kind is int:
        low, high = math.ceil(low), math.floor(high)
    if low >= high:
        return None
    return ("int" if kind is int else "log" if low > 0 else "float"), (low, high)


def _ends(limits: Sequence[Any], default: int | float) -> tuple[int | float, int | float]:
    """Return both ends of a range; an end that is excluded itself is left out by the smallest step."""
    low, high = sorted((default / OPEN_END, default * OPEN_END))
    for limit in limits:
        low = max(
            low,
            getattr(limit, "ge", low),
            math.nextafter(getattr(limit, "gt", -math.inf), math.inf),
        )
        high = min(
            high,
            getattr(limit, "le", high),
            math.nextafter(getattr(limit, "lt", math.inf), -math.inf),
        )
    return low, high
