"""What metrics are: one declaration that families and the leaderboard share."""

from __future__ import annotations

import pytest

from moesuite.config.compose import compose
from moesuite.discovery.names import task_files
from moesuite.records.metrics import FAMILIES, MetricSpec, known_spec, primary_name
from moesuite.train.build import declare_task


@pytest.mark.parametrize("name", sorted(task_files()))
def test_a_task_is_ranked_by_what_the_declaration_says(name: str) -> None:
    config = compose(f"task={name}", "router=dense")
    task = declare_task(config.task)
    assert task.primary.name == primary_name(config.task["family"], config.task)
    assert task.primary == known_spec(config.task["family"], config.task, task.primary.name)


@pytest.mark.parametrize(
    ("family", "metric", "direction", "least", "most"),
    [
        ("vision", "top1", "max", 0, 1),
        ("vision", "calibration_error", "min", 0, 1),
        ("language", "bits_per_byte", "min", 0, None),
        ("language", "perplexity", "min", 1, None),
        ("embeddings", "spearman", "max", -1, 1),
        ("understanding", "matthews", "max", -1, 1),
        ("preferences", "score_loss", "min", 0, None),
        ("preferences", "points_gnubg", "max", -3, 3),
        ("preferences", "intransitive", "min", 0, 1),
    ],
)
def test_directions_and_ranges(
    family: str, metric: str, direction: str, least: float | None, most: float | None
) -> None:
    spec = FAMILIES[family][metric]
    assert (spec.direction, spec.least, spec.most) == (direction, least, most)


def test_values_that_a_range_admits() -> None:
    """Bounds are inclusive, and float32 may round beyond them by some 1e-7."""
    share, nats = FAMILIES["vision"]["top1"], FAMILIES["language"]["perplexity"]
    assert (
        share.admits(0.0)
        and share.admits(1.0000001)
        and not share.admits(1.01)
        and not share.admits(-0.01)
    )
    assert (
        nats.admits(1e9)
        and not nats.admits(0.9)
        and (share.range, nats.range) == ("0 to 1", "1 or more")
    )
    assert MetricSpec(name="x", direction="max").admits(-1e9)


def test_scores_of_single_data_sets_are_those_of_the_metric_that_ranks() -> None:
    spec = known_spec("embeddings", {"kind": "similarity"}, "sts12")
    assert spec is not None and (spec.name, spec.direction, spec.least) == ("sts12", "max", -1)
    assert known_spec("vision", {}, "sts12") is None and known_spec("mine:Task", {}, "top1") is None
