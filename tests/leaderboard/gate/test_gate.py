"""The gate refuses records with figures that no run can have, and passes honest ones."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moesuite import compose
from moesuite.discovery.names import router_names
from moesuite.errors import UserError
from moesuite.leaderboard.gate.costs import PARTS as PART_NAMES
from moesuite.leaderboard.gate.plausible import check_plausible
from moesuite.leaderboard.site.build import check
from moesuite.records.record import Protocol, RunRecord, record_id
from moesuite.train.fit import fit
from tests.leaderboard.gate.falsified import FALSIFIED
from tests.leaderboard.records import record_of
from tests.tasks.glue import understanding_folder
from tests.tasks.local_data import BYTES, TINY_BERT, dialogue, search_folder

SHORT = (
    *(
        "trainer.max_steps=4",
        "trainer.val_check_interval=2",
        "trainer.check_val_every_n_epoch=null",
    ),
    *("logger=none", "trainer.enable_progress_bar=false"),
)
EPOCHS = (
    "trainer.max_epochs=2",
    "trainer.max_steps=-1",
    "trainer.check_val_every_n_epoch=1",
    "trainer.val_check_interval=null",
)
Values = dict[str, Any]
TEXT = ("task=stdlib", f"task.source={argparse.__file__}", "task.length=96", "task.stride=96")
GPT = ("backbone.kwargs.n_embd=32", "backbone.kwargs.n_layer=2", "backbone.kwargs.n_head=2")


@pytest.fixture(scope="module")
def short_timings() -> Iterator[None]:
    """Measure times for a moment only: what they are does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moesuite.train.measure.MEASURE_SECONDS", 0.01)
        yield


@pytest.fixture(scope="module")
def honest(short_timings: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunRecord]:
    """Return a record of each family, as its run wrote it."""
    folder = tmp_path_factory.mktemp("honest")
    search = search_folder(tmp_path_factory.mktemp("search"))
    mrpc = understanding_folder(tmp_path_factory.mktemp("glue"), "glue", "mrpc", 40)
    texts = dialogue(folder / "texts", "hh")
    words = {
        "vision": ("router=token_choice", "slots_per_token=1.0", "trainer.accelerator=cpu"),
        "dense": ("router=dense",),
        "epochs": ("router=dense", "seed=1", *EPOCHS),
        "language": (*TEXT, *GPT, "router=switch"),
        "embeddings": (
            "task=stdlib_search",
            f"task.source={search}",
            *TINY_BERT,
            *BYTES,
            "router=soft",
        ),
        "understanding": (
            "task=glue",
            "task.subset=mrpc",
            f"task.source={mrpc}",
            *TINY_BERT,
            *BYTES,
            "router=soft",
        ),
        "preferences": (
            "task=preferences_text",
            f"task.source={texts}",
            *TINY_BERT,
            *BYTES,
            "router=expert_choice",
        ),
    }
    return {
        name: fit(compose(*SHORT, f"records={folder / 'runs'}", *own))[0]
        for name, own in words.items()
    }


def put(folder: Path, values: Values) -> Path:
    """Write a record under the id that its content has."""
    protocol = Protocol.model_validate(values["protocol"])
    values["id"] = record_id(
        values["config"], values["contents"], protocol, values["data_fingerprint"]
    )
    path = folder / values["task"] / values["router"] / f"{values['id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def at(path: str) -> tuple[list[str | int], str | int]:
    parts = [int(part) if part.lstrip("-").isdigit() else part for part in path.split("/")]
    return parts[:-1], parts[-1]


def edit(values: Values, path: str, value: Any) -> None:
    """Set the field at a path; a function makes the new value of the old one."""
    parents, last = at(path)
    inner: Any = values
    for part in parents:
        inner = inner[part]
    inner[last] = value(inner[last]) if callable(value) else value


def test_honest_records_are_shown(honest: dict[str, RunRecord], tmp_path: Path) -> None:
    for record in honest.values():
        put(tmp_path, record.model_dump(mode="json"))
    built = check([str(tmp_path)])
    assert built.problems == [] and built.shown == len(honest)


@pytest.mark.parametrize(
    ("family", "path", "value", "says"), FALSIFIED, ids=[f"{f}-{p}" for f, p, *_ in FALSIFIED]
)
def test_a_falsified_record_is_refused(
    family: str, path: str, value: Any, says: str, honest: dict[str, RunRecord], tmp_path: Path
) -> None:
    values = honest[family].model_dump(mode="json")
    edit(values, path, value)
    where = put(tmp_path, values)
    built = check([str(tmp_path)])
    assert built.shown == 0 and len(built.problems) == 1
    (line,) = built.problems
    assert (
        line.startswith(f"{where}: ") and "\n" not in line and says in line and "allowed: " in line
    )


GOES_ON = {"upcycle": "last.ckpt"}


def test_a_run_without_any_work_is_refused(honest: dict[str, RunRecord]) -> None:
    """Every FLOP 0 agrees with itself in all sums."""
    values = honest["dense"].model_dump(mode="json")
    compute, none = values["compute"], dict.fromkeys(("backbone", *PART_NAMES), 0.0)
    compute |= dict.fromkeys(("activated", "executed", "expected", "training"), none) | {
        "training_step_flops": 0
    }
    for point in values["curve"]:
        point["flops"] = 0.0
    with pytest.raises(UserError, match="compute.executed sums to 0; allowed: more than 0"):
        check_plausible(RunRecord.model_validate(values))


def test_another_task_by_name_is_refused(honest: dict[str, RunRecord], tmp_path: Path) -> None:
    """Digits under the name of ImageNet, whose images are not embedded.

    With a source of its own it may have them.
    """
    values = honest["vision"].model_dump(mode="json")
    values |= {"task": "imagenet", "command": "python -m moesuite.run task=imagenet"}
    values["config"]["task"]["name"] = "imagenet"
    where = put(tmp_path, values)
    (line,) = check([str(tmp_path)]).problems
    assert line.startswith(f"{where}: config.task.embedded is 'digits'; allowed: None (imagenet)")
    values["config"]["task"]["source"] = "/images"
    check_plausible(RunRecord.model_validate(values))


@pytest.mark.parametrize(
    "command",
    [
        "python -m moesuite.run",
        "python -m moesuite.run router=token_choice seed=0 'router_seed=1' --config-dir "
        "/tasks task=other",
        "python -m moesuite.run -m router=soft,token_choice seed=0,1",
        "python -m moesuite.run 'study=a; b | c $(d)'",
        """python -m moesuite.run 'study=it'"'"'s'""",
        "python -m moesuite.run task=digits trainer.max_steps=4",
        "moesuite run router=token_choice",
        "python -m moesuite.tune router=token_choice",
    ],
)
def test_honest_commands_pass(command: str, honest: dict[str, RunRecord]) -> None:
    check_plausible(honest["vision"].model_copy(update={"command": command}))


SUNK = {"checkpoint": "last.ckpt", "content": "c", "steps": 50, "seconds": 5.0, "flops": 7e15}


def upcycled(flops: list[float], **changes: Any) -> RunRecord:
    """Return a record of a run that goes on at step 50.

    Its curve has points at steps 10, 50 and 100.
    """
    record = record_of("good", 0, sunk=SUNK, contents={"upcycle": "c"}, config=GOES_ON, **changes)
    pairs = zip(record.curve, flops, strict=True)
    return record.model_copy(
        update={"curve": [point.model_copy(update={"flops": value}) for point, value in pairs]}
    )


def test_the_flops_of_an_upcycled_run_go_on_from_those_of_the_dense_one() -> None:
    """The dense run took 7e15 for 50 steps; then each step takes `training_step_flops`."""
    compute = record_of("good", 0).compute
    assert compute is not None
    whole = 7e15 + 50 * compute.training_step_flops
    check_plausible(upcycled([1e15, 7e15, whole]))
    with pytest.raises(
        UserError,
        match=r"curve.2.flops is .*; allowed: .* \(steps by compute.training_step_flops\)",
    ):
        check_plausible(upcycled([1e15, 7e15, whole + 25 * compute.training_step_flops]))


def test_an_upcycled_model_that_is_only_evaluated_has_no_steps() -> None:
    same: Values = {"sunk": SUNK, "contents": {"upcycle": "c"}, "curve": []}
    only = {**GOES_ON, "trainer": {"max_epochs": 0}}
    check_plausible(record_of("good", 0, **same, config=only, steps=0, seconds=0.0))
    short = {**GOES_ON, "trainer": {"max_steps": 40}}
    with pytest.raises(UserError, match="sunk.steps is 50; allowed: 0 to 40"):
        check_plausible(record_of("good", 0, **same, config=short, steps=40))


@pytest.mark.slow
def test_no_honest_run_of_any_router_is_refused(short_timings: None, tmp_path: Path) -> None:
    """All together: what records must agree on, such as the backbone's FLOPs, is judged too."""
    for router in router_names():
        record, _ = fit(compose(*SHORT, f"records={tmp_path}", f"router={router}"))
        assert record.status == "ok" and math.isfinite(record.quality["top1"].value)
    built = check([str(tmp_path)])
    assert built.problems == [] and built.shown == len(router_names())
