"""One parameter of a search space, written in Hydra's sweep grammar.

    interval(a, b)              any number from a to b
    tag(log, interval(a, b))    the same on a logarithmic scale
    range(a, b[, step])         a, a + step, ... below b: the very values that a sweep (-m) runs
    tag(log, range(a, b))       whole numbers on a logarithmic scale
    choice(a, b, ...), or a, b  one of these values; with null among them only the second form
    glob(pattern)               the named values of an option that match, for example glob(*)

`int(interval(a, b))` and `tag(int, interval(a, b))` are whole numbers from a to b, both included.
Hydra parses (https://hydra.cc/docs/advanced/override_grammar/extended/); the mapping to Optuna's
distributions is that of hydra-optuna-sweeper, except that a range ends before b as in Hydra.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence, Set
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    QuotedString,
    RangeSweep,
)
from hydra.errors import HydraException

from moesuite.errors import UserError
from moesuite.tune.space.parameter import Parameter

EXPECTED = "expected interval(a,b), range(a,b), choice(a,b,...), tag(log, ...), glob(*) or auto"
EXAMPLE = "tag(log, interval(1e-4, 1e-2))"
TAGS = frozenset({"log", "int"})
OLD_FORM = re.compile(r"(?P<form>log|float|int|choice)\((?P<values>[^()]*)\)")
ROUNDING = 1e-9  # of a step: 0.1 is not exact in binary


def parse_parameter(name: str, line: str, named: Sequence[str] = ()) -> Parameter:
    """Parse one line of a search space; the old form is read too, see `modern`.

    Args:
        name: dotted option of a run.
        line: a sweep in Hydra's grammar.
        named: values of the option that `glob` chooses from.

    Raises:
        UserError: for a line that is no sweep, or a range that is empty or not allowed.
    """
    typed = f"tune.space.{name}={line}"
    try:
        sweep = OverridesParser.create().parse_override(f"{name}={modern(line)}").value()
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{typed}: {reason}; {EXPECTED}, e.g. {EXAMPLE}") from None
    if isinstance(sweep, Glob):
        return _glob(name, typed, sweep, named)
    if isinstance(sweep, ChoiceSweep):
        _check_tags(typed, sweep.tags, allowed=frozenset())
        return _choice(name, typed, [_unquoted(value) for value in sweep.list])
    if isinstance(sweep, IntervalSweep):
        return _interval(name, typed, sweep)
    if isinstance(sweep, RangeSweep):
        return _range(name, typed, sweep)
    raise UserError(f"{typed}: one value, nothing to search; {EXPECTED}, e.g. {EXAMPLE}")


def modern(line: str) -> str:
    """Return a line of the old form in Hydra's grammar, and any other line as it is.

    The old form is log(a,b), float(a,b), int(a,b) with both ends included, and a choice(...) with
    null, which Hydra refuses. `int(1,4)` alone would be a cast of two choices in Hydra.

    Example:
        >>> modern("int(1, 4)")
        'range(1, 5)'
    """
    match = OLD_FORM.fullmatch(line.strip())
    if match is None:
        return line.strip()
    form, values = match["form"], [value.strip() for value in match["values"].split(",")]
    if form == "choice":
        return ", ".join(values) if "null" in values else match[0]
    if len(values) != 2:
        return match[0]
    if form == "int":
        try:
            low, high = (_whole(value) for value in values)
        except (ValueError, OverflowError):
            return f"tag(int, interval({', '.join(values)}))"
        return f"range({low}, {high + 1})"
    interval = f"interval({', '.join(values)})"
    return f"tag(log, {interval})" if form == "log" else interval


def canonical(name: str, text: str) -> str:
    """Return the text of a parameter, of either form, as `Parameter.text` writes it today."""
    try:
        return parse_parameter(name, text).text
    except UserError:  # both ends are the same to six digits
        return modern(text)


def _whole(text: str) -> int:
    number = float(text)
    if not number.is_integer():
        raise ValueError(text)
    return int(number)


def _unquoted(value: Any) -> Any:
    """Return a parsed value with its quoted strings as plain ones."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_unquoted(inner) for inner in value]
    if isinstance(value, dict):
        return {_unquoted(key): _unquoted(inner) for key, inner in value.items()}
    return value


def _choice(name: str, typed: str, values: Sequence[Any]) -> Parameter:
    if len(values) < 2 or len({repr(value) for value in values}) < len(values):
        raise UserError(
            f"{typed}: expected at least two values, all different, e.g. choice(2, 4, 8)"
        )
    return Parameter(name, "choice", tuple(values))


def _glob(name: str, typed: str, pattern: Glob, named: Sequence[str]) -> Parameter:
    values = pattern.filter(list(named))
    if len(values) < 2:
        raise UserError(
            f"{typed}: matches {', '.join(values) or 'nothing'}; expected at least two of "
            f"{', '.join(named) or 'named values, which this option does not have'}, "
            "e.g. choice(2, 4, 8)"
        )
    return Parameter(name, "choice", tuple(values))


def _interval(name: str, typed: str, sweep: IntervalSweep) -> Parameter:
    assert sweep.start is not None
    assert sweep.end is not None
    _check_tags(typed, sweep.tags)
    _check_ends(typed, sweep.start, sweep.end)
    whole = isinstance(sweep.start, int) or "int" in sweep.tags
    if whole and not (float(sweep.start).is_integer() and float(sweep.end).is_integer()):
        raise UserError(
            f"{typed}: expected whole numbers; for others type "
            f"interval({sweep.start:g}, {sweep.end:g})"
        )
    kind = int if whole else float
    log = _is_log(typed, sweep.tags, sweep.start)
    return Parameter(name, "int" if whole else "float", (kind(sweep.start), kind(sweep.end)), log)


def _range(name: str, typed: str, sweep: RangeSweep) -> Parameter:
    assert sweep.start is not None
    assert sweep.stop is not None
    _check_tags(typed, sweep.tags)
    start, stop, step = sweep.start, sweep.stop, sweep.step
    if not all(math.isfinite(number) for number in (start, stop, step)):
        raise UserError(f"{typed}: expected finite numbers, e.g. range(1, 5)")
    count = math.ceil((stop - start) / step - ROUNDING) if step else 0
    if count < 2:
        raise UserError(f"{typed}: expected at least two values below the end, e.g. range(1, 5)")
    low, high = sorted((start, float(_exact(start) + (count - 1) * _exact(step))))
    log = _is_log(typed, sweep.tags, low)
    if all(isinstance(number, int) for number in (start, stop, step)):
        ends = int(low), int(high)
        if abs(step) == 1:
            return Parameter(name, "int", ends, log)
        if not log:
            return Parameter(name, "int", ends, step=abs(step))
    if log:
        raise UserError(
            f"{typed}: a logarithmic range has no step; type tag(log, range(a, b)) or "
            "tag(log, interval(a, b))"
        )
    return Parameter(name, "float", (float(low), float(high)), step=float(abs(step)))


def _exact(number: int | float) -> Decimal:
    """Return a number as it is written, so that 3 * 0.1 is 0.3."""
    return Decimal(str(number))


def _check_tags(typed: str, tags: Set[str], allowed: Set[str] = TAGS) -> None:
    if refused := sorted(tags - allowed):
        raise UserError(
            f"{typed}: unexpected tag {refused[0]!r}; expected log or int, before an interval or a "
            f"range, e.g. {EXAMPLE}"
        )


def _check_ends(typed: str, low: int | float, high: int | float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f"{typed}: expected two finite numbers, e.g. interval(0, 1)")
    if low >= high:
        raise UserError(
            f"{typed}: the range is empty; expected the smaller number first, as "
            f"interval({high:g}, {low:g})"
        )


def _is_log(typed: str, tags: Set[str], low: int | float) -> bool:
    if "log" in tags and low <= 0:
        raise UserError(
            f"{typed}: a logarithmic range begins above 0, not at {low:g}, e.g. {EXAMPLE}"
        )
    return "log" in tags
