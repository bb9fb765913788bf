"""Search spaces: one line a parameter, ranges from annotations, exact values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moesuite import compose
from moesuite.config.compose import composed, varied
from moesuite.config.options import word
from moesuite.errors import UserError
from moesuite.tune.arguments import commands_by_router, parse_command
from moesuite.tune.space.search_space import read_space, tune_files
from tests.tune.studies import tuned


def space_of(name: str | None = None, router: str = "soft", **own: str) -> dict[str, str]:
    return {
        one.name: one.text
        for one in read_space(name, {k.replace("__", "."): v for k, v in own.items()}, router)
    }


def test_a_space_is_one_line_for_each_parameter(tmp_path: Path) -> None:
    assert space_of("capacity") == {
        "slots_per_token": "tag(log, interval(0.25, 4))",
        "eval_slots_per_token": "null, 0.5, 1, 2",
    }
    (tmp_path / "mine.yaml").write_text(
        "num_experts: range(2, 10)\nrouter.k: range(1, 3) if router=token_choice,random\n",
        encoding="utf-8",
    )
    assert space_of(str(tmp_path / "mine.yaml"), "token_choice") == {
        "num_experts": "range(2, 10)",
        "router.k": "range(1, 3)",
    }
    assert space_of(str(tmp_path / "mine.yaml"), "soft") == {"num_experts": "range(2, 10)"}
    replaced = space_of("capacity", slots_per_token="interval(1,2)")
    assert replaced["slots_per_token"] == "interval(1, 2)"


@pytest.mark.parametrize("name", tune_files())
def test_every_space_has_something_for_some_router(name: str) -> None:
    assert commands_by_router(parse_command([f"tune={name}", "router=all"]))


def test_a_router_s_space_follows_from_its_annotations() -> None:
    """Ranges follow from annotations and defaults.

    k: Ge(1), default 1: from 1 to ten times it; a literal: its values; balance_weight: Ge(0),
    default 0.01.
    """
    found = space_of("router", "token_choice")
    assert found["router.k"] == "range(1, 11)"
    assert found["router.balance_weight"] == "tag(log, interval(0.001, 0.1))"
    assert found["router.batch_priority"] == "choice(false, true)"
    assert space_of("router", "soft")["router.dispatch"] == "choice(learned, uniform, identity)"
    assert space_of(None, "usmoe", router__alpha="auto") == {
        "router.alpha": "tag(log, interval(0.05, 1))"
    }
    (momentum,) = read_space(None, {"router.momentum": "auto"}, "expert_choice_causal")
    assert 0.999 < momentum.values[1] < 1  # Lt(1)


@pytest.mark.slow
def test_another_space_of_the_same_name_is_refused(tmp_path: Path) -> None:
    tuned(tmp_path, "router=soft", "tune=slots", "trials=1", "study=s")
    with pytest.raises(
        UserError, match=r"num_experts=choice\(4, 8, 16, 32\) in its space, where this one has"
    ):
        tuned(tmp_path, "router=soft", "tune=slots", "tune.space.num_experts=range(2,5)", "study=s")
    with pytest.raises(UserError, match="objectives quality, where this one has quality flops"):
        tuned(tmp_path, "router=soft", "tune=slots", "objective=quality,flops", "study=s")


@pytest.mark.parametrize("value", [None, True, False, 3, 0.1, 1e-5, 1 / 3, "learned"])
def test_values_are_written_to_the_last_digit(value: Any) -> None:
    import yaml

    text = word(value)
    assert (float(text) if isinstance(value, float) else yaml.safe_load(text)) == value


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 7, "num_experts": 2},
        {"router.k": 2, "optim.lr": 0.01},
        {"eval_slots_per_token": None, "layers": "all"},
    ],
)
def test_a_varied_configuration_is_the_composed_one(options: dict[str, Any]) -> None:
    base = ["router=token_choice", "task=cifar10", "seed=3"]
    words = [f"{name}={word(value)}" for name, value in options.items()]
    assert varied(composed(*base), options) == compose(*base, *words)
