"""Default outputs as an option: costs, runs, saved models, receipts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from moesuite import UserError, compose, for_export, load_moe, moefy, save_moe, upcycle
from moesuite.compute.cost import cost
from moesuite.discovery.names import router_names
from moesuite.nn.moe import MoE, moe_layers
from moesuite.routers import router_class
from moesuite.surgery.checkpoint_format import describe
from tests.compute.counted import TOKENS, WIDTH, assert_as_counted, images, vit
from tests.helpers import invoke, run
from tests.surgery.dense_models import build

DENSE = [name for name in router_names() if router_class(name).dense_gates]


def moved(layer: MoE) -> float:
    """Return the largest default output of a layer."""
    assert layer.default is not None
    return layer.default.running.abs().max().item()


def test_costs_by_hand() -> None:
    """Beside token choice's, one product of [16, 4] and [4, 16] in each of two layers."""
    found = cost(moefy(vit(), "switch", 4, dense_gradient=True), images(), routings=None)
    product = 2 * TOKENS * 4 * WIDTH
    same = cost(moefy(vit(), "switch", 4), images(), routings=None)
    for split, other in (
        (found.forward.executed, same.forward.executed),
        (found.forward.activated, same.forward.activated),
    ):
        assert split.dispatch_combine == pytest.approx(other.dispatch_combine + 2 * product)
        assert split.experts == other.experts and split.backbone == other.backbone
    # in training one more, for the gradient of the gates
    training = found.training.executed.dispatch_combine
    assert training == pytest.approx(same.training.executed.dispatch_combine + 2 * 2 * product)


@pytest.mark.slow
@pytest.mark.parametrize("router", DENSE)
def test_costs_are_those_counted(router: str) -> None:
    assert_as_counted(moefy(vit(), router, 4, dense_gradient=True), images(), 0.05)


@pytest.mark.slow
def test_it_is_saved_with_its_means(tmp_path: Path) -> None:
    model = moefy(vit(), "switch", 4, dense_gradient=True)
    for _ in range(2):
        model.train()(images())
    for path in (tmp_path / "folder", tmp_path / "model.pt"):
        save_moe(model, path)
        loaded = load_moe(path)
        assert all(moved(layer) > 0 for _, layer in moe_layers(loaded))
        assert torch.equal(loaded(images()), model.eval()(images()))
    layers = describe(moefy(vit(), "switch", 4)).plain()["layers"]
    assert all("dense_gradient" not in layer for layer in layers.values())


@pytest.mark.slow
def test_a_folder_of_hugging_face_keeps_exact_means(tmp_path: Path) -> None:
    model = moefy(build("bert"), "switch", 4, dense_gradient=True).to(torch.bfloat16)
    ids = torch.arange(12)[None]
    for _ in range(2):
        model.train()(input_ids=ids)
    save_moe(model, tmp_path)
    assert isinstance(model, transformers.PreTrainedModel)
    pairs = zip(moe_layers(load_moe(tmp_path)), moe_layers(model), strict=True)
    for (_, ours), (_, theirs) in pairs:
        assert ours.default is not None and theirs.default is not None
        assert torch.equal(ours.default.running, theirs.default.running)
        assert ours.default.running.dtype == torch.float32 and moved(ours) > 0


@pytest.mark.slow
def test_it_is_exported_as_it_evaluates() -> None:
    model = moefy(vit(), "token_choice", 4, dense_gradient=True, k=2)
    for _ in range(2):
        model.train()(images())
    expected = model.eval()(images())
    program = torch.export.export(for_export(model), (images(),))
    torch.testing.assert_close(program.module()(images()), expected, atol=1e-5, rtol=1e-5)


def test_the_receipt_says_what_is_missing() -> None:
    """An upcycled image model is not renormalised then, and missing outputs are 0 at first."""
    model, receipt = upcycle(build("vit"), "token_choice", 4, dense_gradient=True)
    assert not any(layer.renormalise for _, layer in moe_layers(model))
    assert "starts off by" in receipt.verdict
    assert "the outputs of missing experts start at 0" in receipt.verdict
    assert (
        not compose("upcycle=timm:vit_tiny_patch16_224", "dense_gradient=true")
        .resolved()
        .renormalise
    )


def test_false_is_no_option() -> None:
    assert compose("dense_gradient=false") == compose() and compose().dense_gradient is None


@pytest.mark.slow
def test_a_run_trains_on_them(tmp_path: Path) -> None:
    record = run(tmp_path, "router=token_choice", "dense_gradient=true")
    assert record.status == "ok" and record.config["dense_gradient"] is True
    loaded = load_moe(tmp_path / "runs" / "digits" / "token_choice" / record.id / "last.ckpt")
    assert all(moved(layer) > 0 for _, layer in moe_layers(loaded))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("dense_gradient=much", "dense_gradient='much': input should be a valid boolean"),
        ("router=soft dense_gradient=true", "router=soft dense_gradient=true: it has no gates of"),
        ("dense_gradient=true renormalise=true", "leave one of the two out"),
    ],
)
def test_bad_input_is_one_line(
    words: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(monkeypatch, *words.split()) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_divided_weights_are_refused_in_python() -> None:
    with pytest.raises(UserError, match="dense_gradient=true renormalise=true"):
        moefy(vit(), "switch", 4, dense_gradient=True, renormalise=True)
