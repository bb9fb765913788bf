"""Options read from source: groups of options, their defaults and meanings."""

from __future__ import annotations

from pathlib import Path

import pytest

from moesuite.config.options import checked_options
from moesuite.discovery.names import contract_class, task_families
from moesuite.discovery.signature import (
    call_arguments,
    option_fields,
    signature_defaults,
    signature_options,
)
from moesuite.discovery.user_code import own_class
from moesuite.errors import UserError
from moesuite.task import task_class

SHARED = '''
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge


@dataclass(frozen=True)
class Base:
    """What all share.

    Attributes:
        width: in pixels, >= 1,
            of an image.
        low, high: bounds.
    """

    width: Annotated[int, Ge(1)] = 8
    low: float = 0.0
    high: float = 1.0
'''
OWN = '''
from dataclasses import dataclass, field

from shared_options import Base as Common


@dataclass(frozen=True)
class Paint(Common):
    """Colours.

    Attributes:
        colours: names of colours.
    """

    colours: list[str] = field(default_factory=lambda: ["red"])


class Mine:
    """Draws.

    Args:
        plain: a parameter of its own.
        low: another meaning than in the group.
    """

    def __init__(self, plain: int = 3, paint: Paint = Paint(width=4), *, last: str = "z") -> None:
        self.plain, self.paint, self.last = plain, paint, last
'''


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shared_options.py").write_text(SHARED, encoding="utf-8")
    (tmp_path / "mine.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "mine.py"


def test_groups_are_flattened_without_importing_them(source: Path) -> None:
    options = signature_options(source, "Mine", skip=1)
    assert {name: option.default for name, option in options.items()} == {
        "plain": 3,
        "width": 4,
        "low": 0.0,
        "high": 1.0,
        "colours": ["red"],
        "last": "z",
    }
    assert {name: option.meaning for name, option in options.items()} == {
        "plain": "a parameter of its own.",
        "width": "in pixels, >= 1, of an image.",
        "low": "another meaning than in the group.",
        "high": "bounds.",
        "colours": "names of colours.",
        "last": "",
    }
    groups = [option.group for option in options.values()]
    assert groups == ["", "Base", "Base", "Base", "Paint", ""]
    assert options["width"].type == "Annotated[int, Ge(1)]"


def test_flat_options_are_checked_and_become_groups_again(source: Path) -> None:
    cls = own_class("task.family", f"{source}:Mine", "")
    init = cls.__init__
    assert {name: default for name, (_, default) in option_fields(init).items()} == (
        signature_defaults(source, "Mine", skip=1)
    )
    valid = checked_options(init, {"width": "5", "last": "a"}, "task")
    assert valid == {"width": 5, "last": "a"}
    mine = cls(**call_arguments(init, valid))
    assert (mine.paint.width, mine.paint.high, mine.paint.colours, mine.last) == (
        5,
        1.0,
        ["red"],
        "a",
    )
    with pytest.raises(UserError, match=r"task\.width"):
        checked_options(init, {"width": 0}, "task")
    with pytest.raises(UserError, match="unknown option task.wdith; nearest: width"):
        checked_options(init, {"wdith": 5}, "task")


@pytest.mark.parametrize(
    ("default", "says"),
    [
        ("[x for x in 'ab']", r"mine.py: Mine.__init__: defaults have to be plain values"),
        ("max(1, 2)", r"Mine.__init__: max is called in a default, but mine.py neither defines"),
        ("Paint(weight=2)", r"Mine.__init__: Paint\(weight=2\) has no field weight"),
    ],
)
def test_defaults_that_cannot_be_read(source: Path, default: str, says: str) -> None:
    source.write_text(OWN.replace("Paint(width=4)", default), encoding="utf-8")
    with pytest.raises(UserError, match=says):
        signature_options(source, "Mine", skip=1)


@pytest.mark.parametrize("family", task_families())
def test_options_of_a_family_are_the_same_read_and_imported(family: str) -> None:
    path = task_families()[family]
    cls = contract_class(path, "Task").name
    fields = option_fields(task_class(family).__init__)
    defaults = {name: default for name, (_, default) in fields.items()}
    assert signature_defaults(path, cls, skip=1) == defaults and len(defaults) > 5
