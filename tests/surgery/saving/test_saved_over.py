"""What the last save wrote is what is read, whatever an earlier one left in the folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from moesuite import UserError, load_moe, moefy, save_moe
from moesuite.nn.moe import moe_layers
from tests.surgery.dense_models import build


def other_weights(name: str, seed: int) -> Any:
    model = moefy(build(name), "token_choice", 4)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def same(model: nn.Module, other: nn.Module) -> bool:
    ours, theirs = model.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def in_shards(model: Any, folder: Path) -> None:
    model.save_pretrained(folder, max_shard_size="20KB")


def in_one_file(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)


def checked(model: Any, folder: Path) -> None:
    save_moe(model, folder)


SAVES: dict[str, tuple[str, Callable[[Any, Path], None]]] = {
    "shards": ("bert", in_shards),
    "one file": ("bert", in_one_file),
    "checked": ("bert", checked),
    "timm": ("vit", checked),
}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("one file", "shards"),
        *(
            pytest.param(first, second, marks=pytest.mark.slow)
            for first in SAVES
            for second in SAVES
            if (first, second) != ("one file", "shards")
        ),
    ],
)
def test_the_last_save_is_read(first: str, second: str, tmp_path: Path) -> None:
    for seed, (name, save) in enumerate((SAVES[first], SAVES[second])):
        model = other_weights(name, seed)
        save(model, tmp_path)
        assert same(load_moe(tmp_path), model)
    stale = {"timm": ["config.json"]}.get(second, ["moesuite.json"])
    assert not any((tmp_path / name).exists() for name in stale)


@pytest.mark.slow
def test_files_of_others_stay(tmp_path: Path) -> None:
    """A dense model's, and weights that are none of the format."""
    in_shards(build("bert"), tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model = other_weights("vit", 0)
    save_moe(model, tmp_path)
    assert same(load_moe(tmp_path), model)
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())


def test_a_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="variant=fp16: .* folder of its own, without variant="):
        other_weights("bert", 0).save_pretrained(tmp_path / "new", variant="fp16")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_folder_of_sentence_transformers_is_no_place_for_another(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="holds a model of sentence-transformers; expected another"):
        save_moe(other_weights("vit", 0), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(UserError, match=r"expected no model=, e.g. load_moe\(path\)"):
        load_moe(tmp_path, model=build("bert"))


@pytest.mark.slow
def test_a_dense_model_of_the_same_configuration_is_not_marked(tmp_path: Path) -> None:
    model: Any = build("bert")
    teacher = type(model)(model.config)
    moefy(model, "token_choice", 4).save_pretrained(tmp_path / "moe")
    teacher.save_pretrained(tmp_path / "dense")
    assert type(teacher).from_pretrained(tmp_path / "dense") is not None
    with pytest.raises(UserError, match="without a description of MoE layers"):
        load_moe(tmp_path / "dense")
    loaded: Any = load_moe(tmp_path / "moe")
    assert len(list(moe_layers(loaded))) == 1 and not hasattr(loaded.config, "moesuite")


def test_the_index_of_a_save_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text('{"weight', encoding="utf-8")
    model = other_weights("bert", 0)
    in_one_file(model, tmp_path)
    assert same(load_moe(tmp_path), model)
