"""Files of saved models that are broken, or are others than they say: one line each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from moesuite import UserError, load_moe, moefy, save_moe
from tests.surgery.dense_models import build

Damage = Callable[[Path], object]


def cut(name: str) -> Damage:
    """Return what leaves the first 20 bytes of a file."""
    return lambda folder: [path.write_bytes(path.read_bytes()[:20]) for path in folder.glob(name)]


def text(name: str, content: str) -> Damage:
    """Return what writes a file."""
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def gone(name: str) -> Damage:
    """Return what removes a file."""
    return lambda folder: [path.unlink() for path in folder.glob(name)]


def edit(name: str, **values: object) -> Damage:
    """Return what sets values of a JSON object."""

    def damage(folder: Path) -> None:
        path = folder / name
        read = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**read, **values}), encoding="utf-8")

    return damage


SHARD = "model-00002-of-*.safetensors"
VIT = "vit_tiny_patch16_224"
LAYER = {"router": "token_choice", "dim": 32, "num_experts": 4}
DAMAGES: dict[str, list[tuple[Damage, str]]] = {
    "vit": [
        (cut("model.safetensors"), "model.safetensors: not readable"),
        (cut("moesuite_answer.safetensors"), "moesuite_answer.safetensors: not readable"),
        (cut("moesuite.json"), "moesuite.json: not readable"),
        (text("moesuite.json", "[1]"), "moesuite.json: not readable .no JSON object."),
        (gone("moesuite.json"), "without a description of MoE layers"),
        (gone("model.safetensors"), r"no \.safetensors in this folder"),
        (edit("moesuite.json", format=7), "of form 7"),
        (edit("moesuite.json", layers=3), "layers=3"),
        (edit("moesuite.json", layers={"blocks.9.mlp": LAYER}), "no MLP at blocks.9.mlp"),
        (edit("moesuite.json", layers={"blocks.1.mlp": {**LAYER, "dim": "x"}}), "dim"),
        (edit("moesuite.json", layers={"blocks.1.mlp": {**LAYER, "dim": -1}}), "dim=-1"),
        (edit("moesuite.json", tied=[["a", "b"]]), "no weights to tie at a, b; expected"),
        (edit("moesuite.json", attributes=5), "moesuite.json|not readable"),
        (
            edit("moesuite.json", dense={"timm": VIT, "arguments": {"img_size": [1]}}),
            "as described",
        ),
        (edit("moesuite.json", dense=5), "no recipe of a model"),
        (edit("moesuite.json", dense={"timm": "vit", "arguments": {}}), "unknown backbone"),
        (edit("moesuite.json", dense={"keras": "vit"}), "no recipe of a model"),
    ],
    "bert": [
        (cut("config.json"), "config.json: not readable"),
        (text("config.json", "[]"), "config.json: not readable"),
        (edit("config.json", architectures=["pipeline"]), "pipeline is not a model of transf"),
        (edit("config.json", architectures=7), "is not a model of transformers"),
        (edit("config.json", moesuite=7), "without a description"),
        (edit("config.json", hidden_size="wide"), "not readable"),
        (edit("config.json", vocab_size=60), "not readable|do not fit"),
        (cut("model.safetensors.index.json"), "not readable"),
        (gone(SHARD), "not readable"),
        (cut(SHARD), "not readable"),
    ],
}


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        pytest.param(name, *row, marks=[pytest.mark.slow] if name == "bert" else [])
        for name, rows in DAMAGES.items()
        for row in rows
    ],
)
def test_broken_folders(
    name: str, damage: Damage, says: str, tmp_path: Path, saved: dict[str, Path]
) -> None:
    for file in saved[name].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damage(tmp_path)
    with pytest.raises(UserError, match=says) as error:
        load_moe(tmp_path)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders of both kinds, one of them in shards."""
    folder = tmp_path_factory.mktemp("saved")
    save_moe(moefy(build("vit"), "token_choice", 4), folder / "vit")
    model = moefy(build("bert"), "token_choice", 4)
    model.save_pretrained(folder / "bert", max_shard_size="100KB")
    assert len(list((folder / "bert").glob(SHARD))) == 1
    return {name: folder / name for name in ("vit", "bert")}


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": 3},
        [1],
        {"state_dict": {}, "moesuite": 3},
        {"state_dict": {}, "moesuite": {"format": 1, "layers": {}, "dense": None}, "answer": 3},
        {"state_dict": {}, "moesuite": {"format": 1, "layers": []}},
    ],
)
def test_broken_torch_files(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(UserError) as error:
        load_moe(tmp_path / "model.pt")
    assert "\n" not in str(error.value) and "model.pt" in str(error.value)
