"""Selection of records: copies count once, reproductions together, contradictions are reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moesuite.leaderboard.ingest.entry import entry_of
from moesuite.leaderboard.ingest.selection import merged
from moesuite.leaderboard.site.build import build, check
from moesuite.records.record import Protocol, RunRecord
from tests.leaderboard.boards import contents, put
from tests.leaderboard.records import compute_of, record_of

OWN = Protocol(
    engine=1, router=1, family=1, own={"task.family": "5" * 64}
)  # of a family from outside the package


def again(record: RunRecord, hour: int, **changes: Any) -> RunRecord:
    """Return the record of the same run, made in another hour of the day."""
    return record.model_copy(update={"created": f"2026-11-26T{hour:02d}:00:00+00:00", **changes})


def timed(record: RunRecord, ratio: float) -> RunRecord:
    """Return the same with other times."""
    assert record.compute is not None
    timing = compute_of(ratio, 1e9)["latency"]
    compute = record.compute.model_validate({**record.compute.model_dump(), "latency": timing})
    return record.model_copy(update={"compute": compute})


def better(record: RunRecord, value: float) -> RunRecord:
    """Return the same with another quality, also at the end of its curve."""
    quality = {"top1": record.quality["top1"].model_copy(update={"value": value})}
    curve = [*record.curve[:-1], record.curve[-1].model_copy(update={"quality": value})]
    return record.model_copy(update={"quality": quality, "curve": curve})


def places(folder: Path, *records: RunRecord) -> list[str]:
    """Write each record to a place of its own."""
    for number, record in enumerate(records):
        put(folder / f"place{number}", [record])
    return [str(folder / f"place{number}") for number in range(len(records))]


def test_copies_of_a_file_are_one(tmp_path: Path) -> None:
    one = record_of("good", 0)
    where = places(tmp_path, one, one)
    built = build(where, tmp_path / "site")
    assert (built.shown, built.problems) == (1, [])
    (copy,) = (tmp_path / "place1").glob("*/*/*.json")
    copy.write_text(one.model_dump_json(), encoding="utf-8")  # laid out in another way
    assert check(where).problems == [] and "Reproduced" not in page(tmp_path / "site", one)


def page(site: Path, record: RunRecord) -> str:
    return (site / "runs" / f"{record.id}.html").read_text(encoding="utf-8")


def test_a_run_that_was_made_again_is_a_reproduction(tmp_path: Path) -> None:
    """Ratios 1, 2, 6: median 2; seconds 10, 20, 30: median 20.

    The first by time stays, wherever it lies.
    """
    first = again(record_of("good", 0), 1, seconds=12.5)
    runs = [
        timed(again(first, 3, seconds=30.0), 6.0),
        timed(first, 1.0),
        timed(again(first, 2, seconds=20.0), 2.0),
    ]
    where = places(tmp_path, *runs)
    built = build(where, tmp_path / "site")
    assert (built.shown, built.problems) == (1, [])
    text = " ".join(page(tmp_path / "site", first).split())
    assert "Reproduced 3x" in text and "2026-11-26T01:00:00+00:00. <b>" in text
    (entry,) = merged([entry_of(run)[0] for run in runs])
    assert entry.reproductions == 3 and entry.created.startswith("2026-11-26T01")
    assert entry.figures["latency_ratio_to_dense"] == 2.0 and entry.figures["seconds"] == 20.0
    assert "reproduced 3x" in (tmp_path / "site" / "tasks" / "mine.html").read_text(
        encoding="utf-8"
    )


def test_times_of_a_reproduction_elsewhere_do_not_count(tmp_path: Path) -> None:
    first = timed(record_of("good", 0), 1.0)
    there = timed(again(first, 2, environment={"device": "GPU", "cpus": "8"}), 3.0)
    (entry,) = merged([entry_of(run)[0] for run in (there, first)])
    assert entry.reproductions == 2 and entry.figures["latency_ratio_to_dense"] == 1.0


def test_another_quality_is_listed_beside_that_of_the_first(tmp_path: Path) -> None:
    first = record_of("good", 0, 0.9)
    where = places(tmp_path, better(again(first, 2), 0.8), first)
    built = build(where, tmp_path / "site")
    assert built.shown == 1 and len(built.problems) == 1
    assert built.problems[0].startswith(where[0]) and "but top1 0.8, there 0.9" in built.problems[0]
    assert "<b>top1 0.9</b>" in page(tmp_path / "site", first)


def test_a_finished_run_stands_before_one_that_failed(tmp_path: Path) -> None:
    finished = again(record_of("good", 0), 2)
    failed = again(
        record_of("good", 0, status="failed", quality={}, compute=None, curve=[], health=[]), 1
    )
    built = check(places(tmp_path, failed, finished))
    assert built.shown == 1 and "but failed, there ok" in built.problems[0]


def test_reproductions_that_come_and_go_leave_the_pages_of_a_whole_build(tmp_path: Path) -> None:
    first, other = record_of("good", 0), record_of("dense", 0)
    second, third = again(first, 2, seconds=20.0), better(again(first, 3), 0.5)
    where, out = places(tmp_path, other, third, second, first), tmp_path / "site"
    for index, given in enumerate(
        ([0, 3], [0, 2, 3], [0, 1, 2, 3], [0, 1, 2], [0, 1], [0, 2, 3], [0, 3])
    ):
        build([where[number] for number in given], out)
        build([where[number] for number in given], tmp_path / f"whole{index}")
        assert contents(out) == contents(tmp_path / f"whole{index}")


def test_of_another_number_of_examples_most_are_right(tmp_path: Path) -> None:
    config = {"task": {"name": "own", "family": "mine:Task"}}
    metrics = {"top1": {"name": "top1", "direction": "max", "least": 0.0, "most": 1.0}}
    put(
        tmp_path,
        [
            record_of("good", seed, task="own", config=config, protocol=OWN, metrics=metrics)
            for seed in range(3)
        ],
    )
    quality = {"top1": {"value": 0.9, "direction": "max", "n": 50}}
    put(
        tmp_path,
        [
            record_of(
                "odd", 0, task="own", config=config, protocol=OWN, metrics=metrics, quality=quality
            )
        ],
    )
    built = check([str(tmp_path)])
    assert built.shown == 3 and len(built.problems) == 1
    assert (
        "/own/odd/" in built.problems[0] and "quality.top1.n is 50, but 360 in" in built.problems[0]
    )


def test_a_different_cost_of_the_same_backbone_is_reported(tmp_path: Path) -> None:
    put(tmp_path, [record_of("good", seed) for seed in range(3)])
    cheap = compute_of(1.0, 9e8)
    for name in ("activated", "executed", "expected"):
        cheap[name] = {**cheap[name], "backbone": 5e8}
    put(tmp_path, [record_of("odd", 0, compute=cheap)])
    built = check([str(tmp_path)])
    assert (
        built.shown == 3
        and "compute.executed.backbone is 500000000.0, but 1000000000.0 in" in built.problems[0]
    )


def foreign(router: str, seed: int, direction: str) -> RunRecord:
    """Return a record of a family that the package does not know."""
    spec = {"name": "top1", "direction": direction}
    config = {"task": {"name": "own", "family": "mine:Task"}}
    quality = {"top1": {"value": 0.9, "direction": direction, "n": 360}}
    return record_of(
        router,
        seed,
        task="own",
        config=config,
        protocol=OWN,
        metrics={"top1": spec},
        quality=quality,
    )


@pytest.mark.parametrize("more", [1, 5])
def test_contradictory_directions_turn_no_board_round(more: int, tmp_path: Path) -> None:
    """Neither the first record decides nor the majority.

    None of the task's records is shown, and each is reported.
    """
    put(tmp_path, [foreign("good", seed, "max") for seed in range(more)])
    put(tmp_path, [foreign("bad", 0, "min")])
    built = check([str(tmp_path)])
    assert built.shown == 0 and len(built.problems) == more + 1
    assert all(
        "metrics.top1 is ['" in line and "the same in all records" in line
        for line in built.problems
    )
    assert check([str(tmp_path)]).shown == 0


def test_a_direction_against_the_declaration_is_refused_and_the_board_stands(
    tmp_path: Path,
) -> None:
    put(tmp_path, [record_of("good", 0)])
    quality = {"top1": {"value": 0.9, "direction": "min", "n": 360}}
    put(tmp_path, [record_of("a", 0, quality=quality)])
    built = build([str(tmp_path)], tmp_path / "site")
    assert built.shown == 1 and "quality.top1.direction is min; allowed: max" in built.problems[0]
    assert '"max":true' in (tmp_path / "site" / "tasks" / "mine.html").read_text(encoding="utf-8")
