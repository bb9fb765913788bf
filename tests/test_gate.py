"""The gate: a record with a figure that no run can have is refused, whatever its id; honest ones are not."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moesuite import compose
from moesuite.errors import UserError
from moesuite.leaderboard.build import check
from moesuite.leaderboard.plausible import check_plausible
from moesuite.plugins import router_names
from moesuite.record import Protocol, RunRecord, record_id
from moesuite.train import fit
from tests.boards import record_of
from tests.test_embeddings import BYTES, TINY
from tests.test_preferences import dialogue
from tests.test_tasks import search_folder, understanding_folder

SHORT = (
    *("trainer.max_steps=4", "trainer.val_check_interval=2", "trainer.check_val_every_n_epoch=null"),
    *("logger=none", "trainer.enable_progress_bar=false"),
)
Values = dict[str, Any]
TEXT = ("task=stdlib", f"task.source={argparse.__file__}", "task.length=96", "task.stride=96")
GPT = ("backbone.kwargs.n_embd=32", "backbone.kwargs.n_layer=2", "backbone.kwargs.n_head=2")


@pytest.fixture(scope="module")
def short_timings() -> Iterator[None]:
    """Measure times for a moment only: what they are does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moesuite.measure.MEASURE_SECONDS", 0.01)
        yield


@pytest.fixture(scope="module")
def honest(short_timings: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunRecord]:
    """Return a record of each family, as its run wrote it."""
    folder = tmp_path_factory.mktemp("honest")
    search = search_folder(tmp_path_factory.mktemp("search"))
    mrpc = understanding_folder(tmp_path_factory.mktemp("glue"), "glue", "mrpc", 40)
    texts = dialogue(folder / "texts", "hh")
    words = {
        "vision": ("router=token_choice", "slots_per_token=1.0"),
        "dense": ("router=dense",),
        "language": (*TEXT, *GPT, "router=switch"),
        "embeddings": ("task=stdlib_search", f"task.source={search}", *TINY, *BYTES, "router=soft"),
        "understanding": ("task=glue", "task.subset=mrpc", f"task.source={mrpc}", *TINY, *BYTES, "router=soft"),
        "preferences": ("task=preferences_text", f"task.source={texts}", *TINY, *BYTES, "router=expert_choice"),
    }
    return {name: fit(compose(*SHORT, f"records={folder / 'runs'}", *own))[0] for name, own in words.items()}


def put(folder: Path, values: Values) -> Path:
    """Write a record under the id that its content has."""
    protocol = Protocol.model_validate(values["protocol"])
    values["id"] = record_id(values["config"], values["contents"], protocol, values["data_fingerprint"])
    path = folder / values["task"] / values["router"] / f"{values['id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
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


def times(factor: float) -> Callable[[Any], Any]:
    return lambda value: type(value)(factor * value)


FALSIFIED: list[tuple[str, str, Any, str]] = [
    ("vision", "quality/top1/value", 1.2, "quality.top1.value is 1.2; allowed: 0 to 1"),
    ("vision", "quality/top1/value", -0.1, "quality.top1.value is -0.1; allowed: 0 to 1"),
    ("vision", "quality/top5/value", 0.0, "allowed: 0 or less (top5)"),
    ("vision", "quality/top1/direction", "min", "quality.top1.direction is min; allowed: max"),
    ("vision", "metrics/top1/direction", "min", "metrics.top1.direction is min; allowed: max"),
    ("vision", "metrics/top1/most", 100.0, "metrics.top1.most is 100.0; allowed: 1"),
    ("vision", "primary", "calibration_error", "primary is calibration_error; allowed: top1"),
    ("vision", "quality/top1/n", 180, "quality.top1.n is 180; allowed: 360 (splits.test)"),
    ("vision", "quality/top1/n", 0, "quality.top1.n is 0; allowed: 1 or more"),
    ("vision", "splits/test", 36, "splits.test is 36; allowed: 360 (digits)"),
    ("vision", "splits", {}, "splits.test is missing"),
    ("vision", "limited_quality/top1/value", 3.0, "limited_quality.top1.value is 3; allowed: 0 to 1"),
    ("vision", "limited_quality/top1/n", 3, "limited_quality.top1.n is 3; allowed: 360"),
    ("vision", "limited_quality", {}, "limited_quality is empty; allowed: the metrics of quality"),
    ("vision", "steps", -5, "steps is -5; allowed: 0 or more"),
    ("vision", "steps", 3, "curve.1.step is 4; allowed: 0 to 3"),
    ("vision", "steps", 40, "steps is 40; allowed: 0 to 4"),
    ("vision", "seconds", -1.0, "seconds is -1; allowed: 0 or more"),
    ("vision", "seconds", 1e-9, "allowed: 0 to 1e-09"),
    ("vision", "waited", 1e6, "waited is 1000000; allowed: 0 to"),
    ("vision", "unreadable", -1, "unreadable is -1; allowed: 0 or more"),
    ("vision", "created", "2099-01-01T00:00:00+00:00", "created is 2099-01-01T00:00:00+00:00; allowed: no time in"),
    ("vision", "created", "2001-01-01T00:00:00+00:00", "allowed: 2026-11-26T00:00:00+00:00 or later, when schema 3"),
    ("vision", "health/0/load/0", 1.5, "health.0.load.0 is 1.5; allowed: 0 to 1"),
    ("vision", "health/0/load", [0.05] * 8, "health.0.load sums to 0.4; allowed: 1"),
    ("vision", "health/0/load", [0.5, 0.5], "health.0.load's length is 2; allowed: 8"),
    ("vision", "health/0/dead", 9, "(experts below 1 % of the uniform load)"),
    ("vision", "health/0/entropy", 1.4, "health.0.entropy is 1.4; allowed: "),
    ("vision", "health/0/entropy", 0.1, "health.0.entropy is 0.1; allowed: "),
    ("vision", "health/0/unserved", 1.1, "health.0.unserved is 1.1; allowed: 0 to 1"),
    ("vision", "health/0/dropped_under_capacity", -0.5, "dropped_under_capacity is -0.5; allowed: 0 to 1"),
    ("vision", "health/0/dropped_under_capacity", None, "dropped_under_capacity is None; allowed: a share"),
    ("vision", "health/0/refused_under_capacity", 7.0, "refused_under_capacity is 7; allowed: 0 to 1"),
    ("vision", "health/0/pairs_per_token", -1.0, "health.0.pairs_per_token is -1; allowed: 0 or more"),
    ("vision", "health/0/layer", "blocks.7.mlp", "health is of layers ['blocks.7.mlp']; allowed: those of compute"),
    ("vision", "health", [], "health is of layers []; allowed: those of compute.layers"),
    ("vision", "curve/1/step", 1, "curve.1.step is 1; allowed: 2 or more (the point before)"),
    ("vision", "curve/1/seconds", 0.0, "curve.1.seconds is 0; allowed: "),
    ("vision", "curve/1/flops", times(100.0), "allowed: "),
    ("vision", "curve/0/flops", times(0.5), "(steps by compute.training_step_flops)"),
    ("vision", "curve/0/quality", 1.7, "curve.0.quality is 1.7; allowed: 0 to 1"),
    ("vision", "curve/1/quality", 0.95, "curve.1.quality is 0.95; allowed: "),
    ("vision", "curve/0/entropy", 2.0, "curve.0.entropy is 2; allowed: 0 to 1"),
    ("vision", "curve/0/unserved", -0.2, "curve.0.unserved is -0.2; allowed: 0 to 1"),
    ("vision", "curve/0/dead", 99, "curve.0.dead is 99; allowed: 0 to 8"),
    ("vision", "compute/executed/experts", times(0.5), "(executed.experts)"),
    ("vision", "compute/executed/backbone", times(0.1), "(executed.backbone)"),
    ("vision", "compute/executed/padding", times(0.1), "(the sum over compute.layers)"),
    ("vision", "compute/activated/router", -5.0, "compute.activated.router is -5; allowed: 0 or more"),
    ("vision", "compute/training/backbone", times(0.01), "compute.training.backbone is "),
    ("vision", "compute/training_step_flops", times(0.5), "(training by batch_size)"),
    ("vision", "compute/parameters_active", times(20), "compute.parameters_active is "),
    ("vision", "compute/parameters_active", times(0.5), "compute.parameters_active is "),
    ("vision", "compute/parameters_total", 0, "compute.parameters_total is 0; allowed: 1 or more"),
    ("vision", "compute/slots_per_token_effective", 0.1, "compute.slots_per_token_effective is 0.1; allowed: 1"),
    ("vision", "compute/layers/0/slots_per_token", 70.0, "compute.layers.0.slots_per_token is 70; allowed: 0 to 16"),
    ("vision", "compute/slots_per_token_asked", 0.5, "compute.slots_per_token_asked is 0.5; allowed: 1"),
    ("vision", "compute/latency/median", 0.0, "compute.latency.median is 0; allowed: more than 0"),
    ("vision", "compute/latency/dense_median", -1.0, "compute.latency.dense_median is -1; allowed: more than 0"),
    ("vision", "compute/latency/median", times(100), "compute.latency.median is "),
    ("vision", "compute/latency/ratio_to_dense", times(0.001), "(quartiles)"),
    ("vision", "compute/latency/dense_median", times(0.001), "(dense_quartiles)"),
    ("vision", "compute/latency/quartiles", None, "compute.latency.quartiles is missing; allowed: two numbers"),
    ("vision", "compute/training_step/iqr", -0.1, "compute.training_step.iqr is -0.1; allowed: 0 or more"),
    ("vision", "compute/training_step/n", 0, "compute.training_step.n is 0; allowed: 1 or more"),
    ("vision", "compute/batch_size", 4096, "compute.batch_size is 4096; allowed: 1 to 64 (data.batch_size)"),
    ("vision", "compute/peak_memory_bytes", -1, "compute.peak_memory_bytes is -1; allowed: 1 or more"),
    ("vision", "lookahead", {"outputs": 1.5, "bits": 0.0}, "lookahead.outputs is 1.5; allowed: 0 to 1"),
    ("dense", "compute/executed/experts", 1e6, "compute.activated.experts is 0; allowed: 1000000"),
    ("dense", "limited_quality", {"top1": {"value": 0.5, "direction": "max", "n": 360}}, "limited_quality is top1"),
    ("language", "quality/perplexity/value", 0.5, "quality.perplexity.value is 0.5; allowed: 1 or more"),
    ("language", "quality/bits_per_byte/value", -0.1, "quality.bits_per_byte.value is -0.1; allowed: 0 or more"),
    ("language", "quality/bits_per_byte/n", 3, "quality.bits_per_byte.n is 3; allowed: "),
    ("language", "primary", "perplexity", "primary is perplexity; allowed: bits_per_byte"),
    ("language", "lookahead/outputs", -0.5, "lookahead.outputs is -0.5; allowed: 0 to 1"),
    ("embeddings", "quality/ndcg@10/value", 1.3, "quality.ndcg@10.value is 1.3; allowed: 0 to 1"),
    ("embeddings", "quality/recall@1/value", 1.0, "(recall@10)"),
    ("embeddings", "quality/ndcg@10/n", 3, "quality.ndcg@10.n is 3; allowed: "),
    ("understanding", "quality/f1/value", -0.5, "quality.f1.value is -0.5; allowed: 0 to 1"),
    ("understanding", "quality/score/n", 4000, "quality.score.n is 4000; allowed: 1 to "),
    ("preferences", "quality/score_loss/value", -1.0, "quality.score_loss.value is -1; allowed: 0 or more"),
    ("preferences", "quality/pairs/direction", "min", "quality.pairs.direction is min; allowed: max"),
    ("preferences", "quality/top1/n", 1, "quality.top1.n is 1; allowed: "),
]  # fmt: skip


def test_honest_records_are_shown(honest: dict[str, RunRecord], tmp_path: Path) -> None:
    for record in honest.values():
        put(tmp_path, record.model_dump(mode="json"))
    built = check([str(tmp_path)])
    assert built.problems == [] and built.shown == len(honest)


@pytest.mark.parametrize(("family", "path", "value", "says"), FALSIFIED, ids=[f"{f}-{p}" for f, p, *_ in FALSIFIED])
def test_a_falsified_record_is_refused(
    family: str, path: str, value: Any, says: str, honest: dict[str, RunRecord], tmp_path: Path
) -> None:
    values = honest[family].model_dump(mode="json")
    edit(values, path, value)
    where = put(tmp_path, values)
    built = check([str(tmp_path)])
    assert built.shown == 0 and len(built.problems) == 1
    (line,) = built.problems
    assert line.startswith(f"{where}: ") and "\n" not in line and says in line and "allowed: " in line


SUNK = {"checkpoint": "last.ckpt", "content": "c", "steps": 50, "seconds": 5.0, "flops": 7e15}


def upcycled(flops: list[float], **changes: Any) -> RunRecord:
    """Return a record of a run that goes on at step 50, with a point of its curve at steps 10, 50 and 100."""
    record = record_of("good", 0, sunk=SUNK, contents={"upcycle": "c"}, **changes)
    pairs = zip(record.curve, flops, strict=True)
    return record.model_copy(update={"curve": [point.model_copy(update={"flops": value}) for point, value in pairs]})


def test_the_flops_of_an_upcycled_run_go_on_from_those_of_the_dense_one() -> None:
    """The dense run took 7e15 for 50 steps; then each step takes `training_step_flops`."""
    compute = record_of("good", 0).compute
    assert compute is not None
    whole = 7e15 + 50 * compute.training_step_flops
    check_plausible(upcycled([1e15, 7e15, whole]))
    with pytest.raises(UserError, match=r"curve.2.flops is .*; allowed: .* \(steps by compute.training_step_flops\)"):
        check_plausible(upcycled([1e15, 7e15, whole + 25 * compute.training_step_flops]))


def test_an_upcycled_model_that_is_only_evaluated_has_no_steps() -> None:
    check_plausible(record_of("good", 0, sunk=SUNK, contents={"upcycle": "c"}, curve=[], steps=0, seconds=0.0))
    with pytest.raises(UserError, match="sunk.steps is 50; allowed: 0 to 40"):
        check_plausible(record_of("good", 0, sunk=SUNK, contents={"upcycle": "c"}, curve=[], steps=40))


@pytest.mark.slow
def test_no_honest_run_of_any_router_is_refused(short_timings: None, tmp_path: Path) -> None:
    """All together: what records must agree on, such as the backbone's FLOPs, is judged too."""
    for router in router_names():
        record, _ = fit(compose(*SHORT, f"records={tmp_path}", f"router={router}"))
        assert record.status == "ok" and math.isfinite(record.quality["top1"].value)
    built = check([str(tmp_path)])
    assert built.problems == [] and built.shown == len(router_names())
