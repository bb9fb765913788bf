"""Values within a forward, by the parts that they have passed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from moesuite.models.mlps.linear import is_linear


@dataclass(frozen=True)
class Step:
    """A part that a value passes.

    Attributes:
        path: name of the module or attribute, from the module that is followed; empty for a plain
            function.
        part: what is called with the value.
    """

    path: str
    part: Any


@dataclass(eq=False)
class Value:
    """A value, by what it has passed.

    Attributes:
        steps: in turn.
        source: the argument that it was; empty if it is not known what it was.
        loads: how often it was used.
    """

    steps: tuple[Step, ...] = ()
    source: str = ""
    loads: int = 0

    def copy(self) -> Value:
        """Return a value that is used for something else, but is the same."""
        return Value(self.steps, self.source)

    @property
    def linear(self) -> str:
        """Path of the last linear layer that it has passed, or empty."""
        return next((step.path for step in reversed(self.steps) if is_linear(step.part)), "")


@dataclass
class Trace:
    """What is learned of a module.

    Attributes:
        ways: the steps of every value, at each of its steps.
        forks: paths of linear layers whose outputs are used for more than one thing.
        output: what forward returns, if it has one `return`.
    """

    ways: list[tuple[Step, ...]] = field(default_factory=list)
    forks: set[str] = field(default_factory=set)
    output: Value = field(default_factory=Value)

    def lose(self, values: Iterable[Value]) -> Value:
        """Note that values go where they are not followed, and return an unknown one."""
        self.forks |= {value.linear for value in values}
        return Value()

    def through(self, value: Value, path: str, part: Any) -> Value:
        """Return a value after one more step."""
        passed = Value((*value.steps, Step(path, part)), value.source)
        self.ways.append(passed.steps)
        return passed
