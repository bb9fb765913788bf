"""What a router looked at: experts of each token, by hand and on real runs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from moesuite import compose, fit
from moesuite.records.certificate import Looked
from moesuite.records.store import RunFiles
from moesuite.train.evaluate import _experts, _grid

QUIET = ["measure=false", "logger=none", "trainer.enable_progress_bar=false"]


def test_experts_come_by_weight_and_an_unserved_token_has_none() -> None:
    weights = torch.tensor([[0.2, 0.0, 0.7], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert _experts(weights) == [[2, 0], [], [1]]


def test_of_soft_routing_the_first_expert_is_shown() -> None:
    assert _experts(torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])) == [[1], [0]]


@pytest.mark.parametrize(
    ("tokens", "grid"), [(16, (0, 4)), (197, (1, 14)), (201, (5, 14)), (1, (0, 1)), (45, (0, 0))]
)
def test_the_grid_of_an_image_follows_its_prefix(tokens: int, grid: tuple[int, int]) -> None:
    assert _grid(tokens) == grid  # 36 would be a square, behind 9 others


@pytest.mark.parametrize("router", ["soft", "token_choice", "dense"])
def test_a_run_keeps_what_its_router_did_with_images(router: str, tmp_path: Path) -> None:
    _, path = fit(compose(f"router={router}", "trainer.max_steps=3", f"records={tmp_path}", *QUIET))
    assert RunFiles(path).routing.exists() is (router != "dense")
    if router == "dense":
        return
    looked = Looked.model_validate_json(RunFiles(path).routing.read_text(encoding="utf-8"))
    assert looked.id == path.stem and len(looked.examples) == 4
    layer = looked.examples[0].layers[0]
    assert (layer.prefix, layer.columns, len(layer.experts)) == (0, 4, 16)
    assert [len(slot) for slot in layer.slots] == ([16] * 16 if router == "soft" else [])
    assert all(max(slot) == 100 for slot in layer.slots)
    kind, _, data = looked.examples[0].image.partition(",")
    assert kind == "data:image/png;base64" and Image.open(
        io.BytesIO(base64.b64decode(data))
    ).size == (8, 8)


@pytest.mark.slow
def test_a_run_keeps_what_its_router_did_with_text(tmp_path: Path) -> None:
    words = ["task=stdlib_search", "router=expert_choice", "trainer.max_steps=1", "task.length=32"]
    _, path = fit(compose(*words, f"records={tmp_path}", *QUIET))
    examples = Looked.model_validate_json(
        RunFiles(path).routing.read_text(encoding="utf-8")
    ).examples
    assert len(examples) == 4
    for example in examples:
        assert all(len(layer.experts) == len(example.words) <= 32 for layer in example.layers)
        assert "".join(example.words).isprintable() or "\n" in example.words
