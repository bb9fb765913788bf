"""Roles of options: every option has one; ids and settings of the board follow from it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from moesuite.config.compose import compose
from moesuite.config.options import Section
from moesuite.config.roles import TASK, TRAINER, FreeOptions, Role
from moesuite.config.run_options import trainer_options
from moesuite.config.schema import RunConfig, options_of, role_of
from moesuite.discovery.names import family_defaults, task_families
from moesuite.leaderboard.ingest.facts import contestant_of, setting_of
from moesuite.records.protocol import Protocol
from moesuite.records.record import record_id
from tests.leaderboard.records import record_of

PROTOCOL = Protocol(engine=1, router=1, family=1)
# of each option another value than that of the default run, and whether the id follows it, written
# down by hand
CHANGES: dict[str, tuple[Any, Role]] = {
    "seed": (1, Role.SEED),
    "router_seed": (1, Role.SEED),
    "backbone.seed": (1, Role.SEED),
    "data.seed": (1, Role.SEED),
    "num_experts": (4, Role.CONTESTANT),
    "slots_per_token": (2.0, Role.CONTESTANT),
    "layers": ([0], Role.CONTESTANT),
    "decoder": ({"name": "token_choice"}, Role.CONTESTANT),
    "router.k": (2, Role.CONTESTANT),
    "optim.lr": (0.5, Role.OUTCOME),
    "optim.clip": (0.5, Role.OUTCOME),
    "data.batch_size": (7, Role.OUTCOME),
    "backbone.kwargs": ({"depth": 1}, Role.OUTCOME),
    "task.image_size": (16, Role.OUTCOME),
    "task.config": ("plain_text", Role.OUTCOME),
    "task.cache": (True, Role.OUTCOME),
    "task.recipe": ({"epochs": 3}, Role.OUTCOME),
    "trainer.max_steps": (9, Role.OUTCOME),
    "trainer.precision": ("bf16-mixed", Role.OUTCOME),
    "trainer.devices": (2, Role.OUTCOME),
    "trainer.accelerator": ("gpu", Role.DETAIL),
    "trainer.val_check_interval": (5, Role.DETAIL),
    "data.eval_batch_size": (9, Role.DETAIL),
    "study": ("s", Role.LABEL),
    "trial": (3, Role.LABEL),
    "allow_noncausal": (True, Role.LABEL),
    "task.source": ("elsewhere", Role.LOCATION),
    "task.hub": ("mirror/digits", Role.LOCATION),
    "task.licence": ("CC0", Role.PRESENTATION),
    "data.workers": (3, Role.PRESENTATION),
    "records": ("elsewhere", Role.PRESENTATION),
    "force": (True, Role.PRESENTATION),
    "measure": (False, Role.PRESENTATION),
    "energy": (True, Role.PRESENTATION),
    "predictions": (True, Role.PRESENTATION),
    "logger": ({"mlflow": {}}, Role.PRESENTATION),
    "trainer.log_every_n_steps": (9, Role.PRESENTATION),
    "trainer.enable_progress_bar": (False, Role.PRESENTATION),
    "trainer.default_root_dir": ("elsewhere", Role.PRESENTATION),
    "trainer.profiler": ("simple", Role.PRESENTATION),
}


def sections() -> list[type[Section]]:
    inner = [field.annotation for field in RunConfig.model_fields.values()]
    return [
        RunConfig,
        *(kind for kind in inner if isinstance(kind, type) and issubclass(kind, Section)),
    ]


def test_every_field_has_exactly_one_role() -> None:
    kinds = sections()
    assert {kind.__name__ for kind in kinds} == {"RunConfig", "Optim", "Data", "Backbone"}
    for kind in kinds:
        for name, field in kind.model_fields.items():
            if field.annotation not in kinds:  # a section's own fields say
                marks = [mark for mark in field.metadata if isinstance(mark, Role | FreeOptions)]
                assert len(marks) == 1, (kind.__name__, name)


def test_roles_are_of_options_that_exist() -> None:
    families = [family_defaults(family) for family in task_families()]
    assert set(TASK) <= {"family", *(name for options in families for name in options)}
    assert set(TRAINER) <= set(trainer_options())


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return compose().resolved().model_dump()


@pytest.mark.parametrize("name", CHANGES)
def test_the_id_and_the_setting_follow_the_role(name: str, config: dict[str, Any]) -> None:
    value, role = CHANGES[name]
    section, _, option = name.partition(".")
    changed = {**config, section: {**config[section], option: value} if option else value}
    assert role_of(section, option) is role and changed != config
    ids = [record_id(values, {}, PROTOCOL, "data") for values in (config, changed)]
    assert (ids[0] != ids[1]) == (role not in (Role.LOCATION, Role.PRESENTATION))
    records = [
        record_of("good", 0).model_copy(update={"config": values}) for values in (config, changed)
    ]
    tuned = name == "study"  # the winner of a search is shown in a setting of its own
    assert (setting_of(records[0]) != setting_of(records[1])) == (role is Role.OUTCOME or tuned)
    assert (contestant_of(records[0]) != contestant_of(records[1])) == (role is Role.CONTESTANT)


def test_unknown_options_change_the_outcome_and_unset_ones_do_not() -> None:
    assert role_of("new") is role_of("trainer", "new") is role_of("task", "new") is Role.OUTCOME
    new = {"new": None, "trainer": {"new": None}}
    assert list(options_of(new)) == [] and list(options_of({"new": 0})) == [
        ("new", "", 0, Role.OUTCOME)
    ]
    assert record_id(new, {"init": None}, PROTOCOL, "d") == record_id({}, {}, PROTOCOL, "d")


@pytest.mark.parametrize(
    "changed",
    [{"engine": 2}, {"router": 2}, {"family": 2}, {"decoder": 1}, {"own": {"router": "a"}}],
)
def test_every_protocol_version_is_a_part_of_the_id(changed: dict[str, Any]) -> None:
    other = PROTOCOL.model_copy(update=changed)
    assert record_id({}, {}, PROTOCOL, "d") != record_id({}, {}, other, "d")
    records = [record_of("good", 0, protocol=protocol) for protocol in (PROTOCOL, other)]
    assert (setting_of(records[0]) != setting_of(records[1])) == bool(
        {"engine", "family"} & set(changed)
    )
    assert (contestant_of(records[0]) != contestant_of(records[1])) != bool(
        {"engine", "family"} & set(changed)
    )


def test_the_id_of_a_run_that_never_changes() -> None:
    # by hand: sha256('[{"seed":0,"task":{"name":"t"}},{"engine":1,"family":1,"router":1},"d"]')
    config = {"seed": 0, "records": "a", "task": {"name": "t", "source": "x"}}
    assert record_id(config, {"init": None}, PROTOCOL, "d") == "e0081a827f77"


def test_roles_and_configuration_import_no_torch() -> None:
    code = (
        "import sys, moesuite.records.protocol, moesuite.verify; "
        "assert not {'torch', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
