"""What a study searches: one line per parameter, in a YAML file or as `tune.space.<option>=`.

    <option>: <sweep>      in Hydra's sweep grammar, see `moesuite.tune.space.sweep_grammar`
    <option>: auto         router.<option>: the range of its annotation; router.*: all of them

In a file a line may end in `if router=<name>,<name>`: it is for these routers only.

An annotation may leave an end open. Then a number goes down to a tenth of its default and up to ten
times it, within the range allowed, on a logarithmic scale where both ends are above 0. An option
that may be None, and is None by default, is not searched.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from moesuite.config.schema import RunConfig
from moesuite.discovery.names import CONF, router_defaults
from moesuite.errors import UserError, unknown
from moesuite.tune.space.parameter import Parameter
from moesuite.tune.space.sweep_grammar import modern, parse_parameter

CONDITION = re.compile(r"(?P<sweep>.*?)(?:\s+if\s+router=(?P<routers>[\w,.:/]+))?\s*", re.DOTALL)
OPEN_END = 10  # times the default

Space = list[Parameter]


def tune_files() -> dict[str, Path]:
    """Return the search spaces of the package by name."""
    return {path.stem: path for path in sorted((CONF / "tune").glob("*.yaml"))}


def read_space(name: str | None, overrides: Mapping[str, str], router: str) -> Space:
    """Return the search space of a study.

    Args:
        name: of a file in `conf/tune`, or the path of another one; None: only `overrides`.
        overrides: lines of the command line by option; they replace those of the file.
        router: that is tuned; lines for others are left out.

    Raises:
        UserError: for a space that does not exist or is empty, or a line that cannot be parsed.
    """
    lines: dict[str, str] = {}
    if name is not None:
        path = tune_files().get(name, Path(name))
        if not path.is_file():
            raise unknown("space", name, tune_files(), "tune=capacity, or tune=path/to/space.yaml")
        lines = {
            str(key): str(value)
            for key, value in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).items()
        }
    parameters = list[Parameter]()
    for option, line in {**lines, **overrides}.items():
        parameters += _parameters(option, line, router)
    if not parameters:
        raise UserError(
            f"tune={name}: nothing to search for router={router}; expected at least one parameter, "
            "e.g. tune=capacity"
        )
    return parameters


def _parameters(name: str, line: str, router: str) -> Iterator[Parameter]:
    condition = CONDITION.fullmatch(line)
    assert condition is not None
    sweep, routers = condition["sweep"].strip(), condition["routers"]
    if routers and router not in routers.split(","):
        return
    option = name.removeprefix("router.")
    if option != name and option != "*" and option not in router_defaults(router):
        raise unknown(f"option of router={router}", option, router_defaults(router), "tune=router")
    if sweep == "auto":
        yield from _of_router(name, router)
        return
    named = _named_values(name, router) if sweep.startswith("glob(") else ()
    yield parse_parameter(name, sweep, named)
    if modern(sweep) != sweep:
        _hint(name, sweep)


@cache
def _hint(name: str, line: str) -> None:
    """Show the new form of a line in the old one, once."""
    print(
        f"tune.space.{name}={line} is the old form, still read; "
        f"type tune.space.{name}='{modern(line)}'",
        file=sys.stderr,
    )


def _named_values(name: str, router: str) -> tuple[Any, ...]:
    """Return the values that the annotation of an option lists; empty if it lists none."""
    section, _, option = name.rpartition(".")
    if section == "router":
        return _literals(_router_hints(router).get(option))
    fields = RunConfig.model_fields
    if section:
        annotation = fields[section].annotation if section in fields else None
        fields = getattr(annotation, "model_fields", {})
    return _literals(fields[option].annotation) if option in fields else ()


def _literals(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next((get_args(part) for part in get_args(hint) if get_origin(part) is Literal), ())


def _router_hints(router: str) -> Mapping[str, Any]:
    from moesuite.routers import router_class  # imports torch

    init = inspect.unwrap(router_class(router).__init__)
    return inspect.get_annotations(init, eval_str=True)


def _of_router(name: str, router: str) -> Iterator[Parameter]:
    """Yield the parameters of a router's own options, from the annotations of its signature."""
    wanted, hints = name.removeprefix("router."), _router_hints(router)
    for option, default in router_defaults(router).items():
        if wanted in ("*", option):
            parameter = _annotated(f"router.{option}", hints.get(option), default)
            if parameter is not None:
                yield parameter


def _annotated(name: str, hint: Any, default: Any) -> Parameter | None:
    """Return the parameter of an annotated option, or None where there is nothing to choose."""
    if get_origin(hint) in (Union, types.UnionType):
        if default is None:
            return None
        hint = next(inner for inner in get_args(hint) if inner is not type(None))
    if get_origin(hint) is Literal:
        values = get_args(hint)
        return Parameter(name, "choice", values) if len(values) > 1 else None
    if hint is bool:
        return Parameter(name, "choice", (False, True))
    limits = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    kind = get_args(hint)[0] if limits else hint
    if kind not in (int, float) or not default:
        return None
    low, high = _ends(limits, default)
    if kind is int:
        low, high = math.ceil(low), math.floor(high)
    if low >= high:
        return None
    if kind is int:
        return Parameter(name, "int", (low, high))
    return Parameter(name, "float", (low, high), log=low > 0)


def _ends(limits: Sequence[Any], default: int | float) -> tuple[int | float, int | float]:
    """Return both ends of a range; an excluded end moves inward by the smallest step of a float."""
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
