"""Numbers that routers learn have one dimension, as FSDP needs; files from before it load."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from moesuite import LayerSpec, load_moe, moefy, save_moe
from moesuite.config.sections import Optim
from moesuite.routers import build_router
from moesuite.surgery.weights import start_from
from moesuite.train.optim import build_optimizer
from tests.surgery.dense_models import build
from tests.surgery.small_vit import images, small_vit

SCALARS = {"soft": "scale", "cosine": "temperature"}


def without_dimension(state: dict[str, Any]) -> dict[str, Any]:
    """Return weights as they were saved before: the numbers of routers without a dimension."""
    ends = tuple(f"router.{name}" for name in SCALARS.values())
    old = {n: v.reshape(()).clone() if n.endswith(ends) else v for n, v in state.items()}
    assert any(value.ndim == 0 for value in old.values())
    return old


def vit(router: str = "soft") -> nn.Module:
    model = moefy(small_vit(), router=router, num_experts=4, example=images())
    return perturbed(model)


def perturbed(model: nn.Module) -> nn.Module:
    for name, parameter in model.named_parameters():
        if name.endswith(tuple(SCALARS.values())):
            parameter.data.fill_(0.7)
    return model.eval()


@pytest.mark.parametrize(("router", "name"), SCALARS.items())
def test_a_router_loads_a_number_without_a_dimension(router: str, name: str) -> None:
    torch.manual_seed(0)
    new = build_router(router, LayerSpec(8, 4, tokens=6), {})
    assert dict(new.named_parameters())[name].shape == (1,)
    old = {**new.state_dict(), name: torch.tensor(0.7)}
    new.load_state_dict(old)
    assert new.get_parameter(name).tolist() == pytest.approx([0.7])
    assert old[name].ndim == 0, "the caller's weights are as they were"


@pytest.mark.parametrize("form", ["model.pt", "folder"])
def test_saved_models_from_before_load(form: str, tmp_path: Path) -> None:
    model, path = vit(), tmp_path / form
    save_moe(model, path)
    if form == "model.pt":
        saved = torch.load(path, weights_only=True)
        torch.save({**saved, "state_dict": without_dimension(saved["state_dict"])}, path)
    else:
        _make_old(path / "model.safetensors")
    loaded = load_moe(path, small_vit())
    assert torch.equal(loaded(images()), model(images()))


def _make_old(file: Path) -> None:
    old = without_dimension(safetensors.torch.load_file(file))
    safetensors.torch.save_file(old, file, {"format": "pt"})


def test_folders_of_hugging_face_from_before_load(tmp_path: Path) -> None:
    model = perturbed(moefy(build("bert"), "soft", 4, slots_per_expert=2))
    model.save_pretrained(tmp_path)
    _make_old(tmp_path / "model.safetensors")
    ids = torch.arange(12).reshape(2, 6)
    assert torch.equal(load_moe(tmp_path)(ids).logits, model(ids).logits)


def test_a_run_starts_from_weights_from_before(tmp_path: Path) -> None:
    model, target = vit(), vit()
    state = {f"model.{name}": v for name, v in without_dimension(model.state_dict()).items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    moefied = [name for name in state if name.endswith("scale")]
    target.get_parameter(moefied[0].removeprefix("model.")).data.fill_(3.0)
    start_from(target, str(tmp_path / "last.ckpt"))
    assert torch.equal(target(images()), model(images()))


def test_a_run_goes_on_with_moments_from_before() -> None:
    model = vit()
    optimizer, _ = build_optimizer(model, Optim(), 10)
    model.train()(images()).square().sum().backward()
    optimizer.step()
    new, old = optimizer.state_dict(), copy.deepcopy(optimizer.state_dict())
    for state in old["state"].values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name].reshape(()) if state[name].numel() == 1 else state[name]
    shapes = {tuple(state["exp_avg"].shape) for state in old["state"].values()}
    assert () in shapes
    optimizer.load_state_dict(old)
    loaded = optimizer.state_dict()["state"]
    assert all(
        loaded[index]["exp_avg"].equal(state["exp_avg"]) for index, state in new["state"].items()
    )
    optimizer.step()
