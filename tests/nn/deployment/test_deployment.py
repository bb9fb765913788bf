"""Whole models exported, compiled and sharded; the table of docs/deployment.md says what came out.

Each in a process of its own, see `tests.nn.deployment.deployed`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moesuite.discovery.names import router_names
from tests.conftest import ROOT

DOCS = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
COLUMNS = ("bound", "export", "onnx", "evaluation", "training", "fsdp")
ROWS = {
    cells[0].strip("`"): dict(zip(COLUMNS, cells[1:], strict=True))
    for line in re.findall(r"^\| (`.*) \|$", DOCS, re.MULTILINE)
    if (cells := line.split(" | "))
}
CAPACITY = ["comparison", "expert_choice", "sinkhorn_expert_choice"]
CAUSAL = ["expert_choice_causal", "hash", "switch", "token_choice", "top_p"]
EXACT = 1e-5


def measured(module: str, *words: str) -> dict[str, dict[str, Any]]:
    """Return what a process measured, by router."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.nn.deployment.{module}", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line.pop("router"): line for line in lines}


def test_the_table_has_a_row_for_each_router() -> None:
    assert sorted(ROWS) == router_names()
    bounds = {row["bound"] for row in ROWS.values()}
    assert bounds == {"its capacity", "its slots", "T slots for each expert"}
    assert all(row["export"] == "yes" for row in ROWS.values())
    assert all(
        row["onnx"] == ("yes, but see below" if name.startswith("sparsity") else "yes")
        for name, row in ROWS.items()
    )
    assert all((row["evaluation"], row["fsdp"]) == ("one graph", "yes") for row in ROWS.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "routers"),
    [
        ("vit", router_names()),
        ("bert", router_names()),
        ("gpt2", CAUSAL),
        ("convnext", ["token_choice", "expert_choice", "soft"]),
    ],
)
def test_exported_models_answer_as_pytorch_does(kind: str, routers: list[str]) -> None:
    """A batch of another size than the example's; texts with other padding."""
    found = measured("deployed", "export", kind, *routers)
    assert sorted(found) == sorted(routers)
    for router, distances in found.items():
        assert set(distances) == {"static", "export", "onnx"}
        if kind == "bert" and router.startswith("sparsity"):
            del distances["onnx"]  # another plan, as the docs say
        assert max(distances.values()) < EXACT, (router, distances)


@pytest.mark.slow
def test_models_with_a_limit_are_exported() -> None:
    """Other answers than without one, and the same from all three."""
    found = measured("deployed", "export", "bert", "limited", "token_choice", "relu", "usmoe")
    assert len(found) == 3
    for router, distances in found.items():
        assert distances["static"] > EXACT > max(distances["export"], distances["onnx"]), router


@pytest.mark.slow
@pytest.mark.parametrize("word", ["bfloat16", "strict"])
def test_models_are_exported_in_half_precision_and_strictly(word: str) -> None:
    routers = ["token_choice", "expert_choice", "soft"]
    found = measured("deployed", "export", "vit", word, *routers)
    assert sorted(found) == sorted(routers)
    assert all(distances["export"] < EXACT for distances in found.values()), found


@pytest.mark.slow
def test_whole_models_compile_as_the_table_says() -> None:
    found = measured("deployed", "compile", "vit", *router_names())
    for router, row in ROWS.items():
        for mode in ("evaluation", "training"):
            graph = "breaks" if found[router][mode] == "breaks" else "one graph"
            assert row[mode].startswith(graph), (router, mode)
            assert graph == "breaks" or found[router][mode] < EXACT, (router, mode)


@pytest.mark.slow
def test_texts_compile_with_their_padding() -> None:
    found = measured("deployed", "compile", "bert", "token_choice", "hash", "soft")
    assert all(max(distances.values()) < EXACT for distances in found.values()), found


@pytest.mark.slow
def test_sharded_models_train_as_whole_ones_do() -> None:
    found = measured("sharded", *router_names())
    assert sorted(found) == router_names()
    for router, distances in found.items():
        assert max(distances.values()) < EXACT, (router, distances)


@pytest.mark.slow
def test_the_commands_of_the_docs_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    whole = [code for code in blocks if code.startswith("import")]
    assert len(whole) == 3
    for code in whole:
        small = code.replace('vit_tiny_patch16_224")', 'vit_tiny_patch16_224", depth=2)')
        done = subprocess.run(
            [sys.executable, "-c", small], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in tmp_path.iterdir()} >= {"model.pt2", "model.onnx", "text.onnx"}
