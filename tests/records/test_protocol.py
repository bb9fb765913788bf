"""Protocol versions: results that change without a raised number are named, with what to do."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from moesuite.discovery.names import router_names, task_families
from moesuite.routers.soft import Soft
from moesuite.routing.forms import SoftRouting
from tests.records import protocol
from tests.records.end_states import family_states, router_states
from tests.records.protocol import GOLDEN, differences, problem

RECORDED = json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", router_names())
def test_a_router_computes_what_its_protocol_version_stands_for(name: str) -> None:
    assert problem(f"router {name}", RECORDED, router_states(name)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", task_families())
def test_a_task_family_computes_what_its_protocol_version_stands_for(name: str) -> None:
    assert problem(f"family {name}", RECORDED, family_states(name)) == ""


def test_end_states_are_recorded_of_existing_names_only() -> None:
    names = [f"router {name}" for name in router_names()] + [
        f"family {name}" for name in task_families()
    ]
    assert set(RECORDED) == set(names)


def test_rounding_is_no_difference_and_a_thousandth_is() -> None:
    assert differences({"loss": 2.0, "output": 0.001}, {"loss": 2.0001, "output": 0.00100001}) == []
    assert differences({"loss": 2.0}, {"loss": 2.002}) == ["loss 2 -> 2.002"]
    assert differences({"loss": 2.0}, {"loss": float("nan")}) == ["loss 2 -> nan"]
    assert differences({}, {"top1": 0.5}) == ["top1 nan -> 0.5"]


@pytest.fixture
def other_soft(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Soft MoE combine with weights that are one per cent larger."""
    forward = Soft.forward

    def larger(self: Soft, x: Any, mask: Any = None) -> SoftRouting:
        routing = forward(self, x, mask)
        assert isinstance(routing, SoftRouting)
        return SoftRouting(routing.dispatch, routing.combine * 1.01, routing.losses)

    monkeypatch.setattr(Soft, "forward", larger)


def test_a_router_that_computes_something_else_has_to_raise_its_number(
    other_soft: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = problem("router soft", RECORDED, router_states("soft"))
    assert told.startswith("results of router soft changed (soft: ") and "output" in told
    assert (
        "raise `protocol` in moesuite/routers/soft.py, or ENGINE in moesuite/records/protocol.py"
        in told
    )
    assert told.endswith("then run python -m tests.records.protocol")
    raised = Soft.protocol + 1
    monkeypatch.setattr(Soft, "protocol", raised)
    told = problem("router soft", RECORDED, router_states("soft"))
    assert (
        told == f"protocol of router soft is {raised}, recorded is {raised - 1}: run python -m "
        f"tests.records.protocol"
    )


def test_new_lowered_and_engine_versions_are_reported() -> None:
    new = RECORDED["router soft"]
    versions, engine = new["versions"], new["versions"]["engine"]
    assert "is not recorded: run" in problem("router mine", RECORDED, new)
    lowered = {**new, "versions": {**versions, "router soft": 0}}
    assert "router soft: a protocol version never falls" in problem(
        "router soft", RECORDED, lowered
    )
    raised = {**new, "versions": {**versions, "engine": engine + 1}}
    assert f"protocol of engine is {engine + 1}, recorded is {engine}" in problem(
        "router soft", RECORDED, raised
    )
    more = {**new, "states": {**new["states"], "soft new=True": {"loss": 1.0}}}
    assert "soft new=True" in problem("router soft", RECORDED, more)


def test_recording_refuses_changes_without_a_raised_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "protocol.json", copy.deepcopy(RECORDED)
    monkeypatch.setattr(protocol, "measured", lambda: now)
    assert protocol.record(path) == [] and json.loads(path.read_text(encoding="utf-8")) == RECORDED
    now["family vision"]["states"]["digits"]["loss"] += 1
    (told,) = protocol.record(path)
    assert (
        "results of family vision changed (digits: loss" in told
        and "`protocol` in tasks/vision/task.py" in told
    )
    assert json.loads(path.read_text(encoding="utf-8")) == RECORDED
    now["family vision"]["versions"]["family vision"] += 1
    assert protocol.record(path) == [] and json.loads(path.read_text(encoding="utf-8")) == now
