"""Folders of Hugging Face models: transformers by itself refuses them in one line."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from moesuite import load_moe, moefy, save_moe, upcycle
from moesuite.models.example_inputs import random_example
from moesuite.nn.moe import moe_layers
from tests.surgery.dense_models import build

REFUSED = r"only moesuite\.load_moe\(folder\) loads this mixture of experts"


@pytest.mark.parametrize("cls", ["AutoModel", "AutoModelForMaskedLM", "BertForMaskedLM"])
def test_transformers_refuses_what_save_pretrained_wrote(cls: str, tmp_path: Path) -> None:
    model: Any = moefy(build("bert"), "token_choice", 4)
    for name, host in {"whole": model, "copy": copy.deepcopy(model), "part": model.bert}.items():
        host.save_pretrained(tmp_path / name, max_shard_size="20KB")
        with pytest.raises(OSError, match=REFUSED):
            getattr(transformers, cls).from_pretrained(tmp_path / name)
        assert len(list(moe_layers(load_moe(tmp_path / name)))) == 1


def test_transformers_refuses_without_this_package(tmp_path: Path) -> None:
    save_moe(moefy(build("bert"), "token_choice", 4), tmp_path)
    code = f"from transformers import AutoModel as a; a.from_pretrained({str(tmp_path)!r})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1 and "only moesuite.load_moe(folder)" in run.stderr.splitlines()[-1]


def test_a_pushed_folder_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: list[dict[str, Any]] = []

    def push(model: Any, **options: Any) -> None:
        model.save_pretrained(tmp_path / "sent", max_shard_size="20KB")
        uploaded.append(options)

    model: Any = moefy(build("bert"), "token_choice", 4)
    monkeypatch.setattr(type(model), "push_to_hub", push)
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, commit_message="m", token="t")
    assert uploaded == [{"repo_id": "mine", "token": "t", "commit_message": "m"}]
    for folder in ("mine", "sent"):
        values = json.loads((tmp_path / folder / "config.json").read_text(encoding="utf-8"))
        assert values["transformers_weights"].startswith("only moesuite.load_moe(folder)")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("path", ["folder", "model.pt"])
def test_statistics_of_routers_stay_in_float32(
    path: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """1 + 2^-10 is no number of bfloat16: a bias of 1 would not move by steps of 0.001."""
    model, _ = upcycle(build("llama").to(dtype), "loss_free", 4, layers="all")
    routers = [layer.router for _, layer in moe_layers(model.to(dtype))]
    for router in routers:
        router.bias.fill_(1 + 2**-10)
    save_moe(model, tmp_path / path)
    loaded: Any = load_moe(tmp_path / path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    for _, layer in moe_layers(loaded):
        assert {buffer.dtype for buffer in layer.router.buffers()} == {torch.float32}
        assert torch.equal(layer.router.bias, torch.full((4,), 1 + 2**-10))
    loaded.train()(**random_example(loaded))
    assert next(layer for _, layer in moe_layers(loaded)).router.excess.dtype == torch.float32
    assert {b.dtype for r in routers for b in r.half().to("meta").buffers()} == {torch.float32}
