"""What users did to a model before: frozen weights stay frozen, all else is kept or refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from moesuite import DenseMLP, SplitMLP, UserError, load_moe, moefy, save_moe, upcycle
from moesuite.models.candidates import candidates
from moesuite.nn.moe import moe_layers
from tests.helpers import long_except
from tests.surgery import dense_models
from tests.surgery.families.small import answer, build
from tests.surgery.small_vit import images, small_vit


@pytest.mark.parametrize("kind", ["bart", "gpt2", "llama", "eva02 with norm", "convnext"])
def test_frozen_experts_stay_frozen_and_routers_are_trained(kind: str) -> None:
    model = build(kind) if kind == "bart" else dense_models.build(kind)
    model.requires_grad_(False)
    moefy(model, num_experts=2, layers="all")
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == len(list(moe_layers(model)))
    assert all(name.endswith("router.gate.weight") for name in trained)


def test_partly_frozen_mlps() -> None:
    model = small_vit()
    model.blocks[-1].mlp.fc1.weight.requires_grad_(False)
    ((_, layer),) = moe_layers(moefy(model, num_experts=2, layers=[-1]))
    assert {name for name, weight in layer.named_parameters() if not weight.requires_grad} == {
        "experts.up.weight"
    }


def hook(*_: object) -> None:
    """Do nothing."""


@pytest.mark.parametrize("part", ["mlp", "mlp.fc1"])
@pytest.mark.parametrize(
    "register",
    long_except(
        [
            "register_forward_hook",
            "register_forward_pre_hook",
            "register_full_backward_hook",
            "register_full_backward_pre_hook",
        ],
        "register_forward_hook",
    ),
)
def test_hooks_are_refused_before_any_change(part: str, register: str) -> None:
    model = small_vit()
    handle = getattr(model.get_submodule(f"blocks.3.{part}"), register)(hook)
    with pytest.raises(UserError, match=rf"^blocks.3.{part}: its hooks \(hook\) would be lost"):
        moefy(model, num_experts=2, layers="all")
    assert not list(moe_layers(model))
    assert len(list(moe_layers(moefy(copy.deepcopy(model), num_experts=2, layers=[0])))) == 1
    handle.remove()
    assert len(list(moe_layers(moefy(model, num_experts=2, layers="all")))) == 4


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_of_weights_are_refused(register: str) -> None:
    model = small_vit()
    getattr(model.blocks[3].mlp.fc1.weight, register)(hook)
    with pytest.raises(UserError, match=r"^blocks.3.mlp.fc1: its hooks \(hook\) would be lost"):
        moefy(model, num_experts=2, layers="all")


def test_a_model_that_is_an_mlp_is_refused() -> None:
    mlp = small_vit().blocks[0].mlp
    with pytest.raises(UserError, match="Mlp at its root is the whole model; type nn.Sequential"):
        moefy(mlp, num_experts=2, layers="all")
    assert list(moe_layers(moefy(nn.Sequential(mlp), num_experts=2, layers="all")))


@pytest.mark.slow
def test_hooks_of_spread_mlps() -> None:
    for part in ("fc1", "activation_fn", "fc2"):
        model = build("bart")
        model.encoder.layers[0].get_submodule(part).register_forward_hook(hook)
        with pytest.raises(UserError, match=f"^encoder.layers.0.{part}: its hooks"):
            moefy(model, num_experts=2, layers="all")
    model.encoder.layers[0].register_forward_hook(hook)  # the layer stays, and its hook
    moefy(model, num_experts=2, layers=[1])


@pytest.mark.parametrize("kind", ["bart", pytest.param("bert", marks=pytest.mark.slow)])
def test_adapters_of_peft_are_refused_and_change_no_order(kind: str) -> None:
    from peft import LoraConfig, get_peft_model  # seconds

    plain = build(kind) if kind == "bart" else dense_models.build(kind)
    names = [candidate.name for candidate in candidates(plain)]
    first, targets = names[0].rpartition(".")[0], ["fc1", "fc2", "intermediate.dense"]
    model = get_peft_model(plain, LoraConfig(target_modules=targets, r=2, lora_dropout=0.5))
    assert [candidate.name for candidate in candidates(model)] == [
        f"base_model.model.{name}" for name in names
    ]
    refusal = rf"^base_model.model.{first}.*: peft's lora adapter would be lost; .*merge_and_unload"
    with pytest.raises(UserError, match=refusal):
        moefy(model, num_experts=2, layers="all")
    merged = model.merge_and_unload()
    assert len(list(moe_layers(moefy(merged, num_experts=2, layers="all")))) == len(names)


@pytest.mark.slow
def test_adapters_elsewhere_are_kept() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(build("bart"), LoraConfig(target_modules=["q_proj"], r=2))
    before = {name for name, _ in model.named_parameters() if "lora" in name}
    moefy(model, num_experts=2, layers="all")
    assert before and before == {name for name, _ in model.named_parameters() if "lora" in name}


def test_parametrizations_are_refused() -> None:
    model = small_vit()
    linear = model.blocks[3].mlp.fc1
    parametrizations.weight_norm(linear)
    with pytest.raises(UserError, match=r"^blocks.3.mlp.fc1: the parametrization of weight would"):
        moefy(model, num_experts=2)
    parametrize.remove_parametrizations(linear, "weight")
    expected = model.eval()(images())
    upcycle(model, num_experts=2, renormalise=True)
    torch.testing.assert_close(model(images()), expected, atol=1e-5, rtol=1e-5)


def test_old_weight_norm_is_refused() -> None:
    model = small_vit()
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(model.blocks[3].mlp.fc2)
    with pytest.raises(UserError, match=r"^blocks.3.mlp.fc2: its hooks \(WeightNorm\) would be"):
        moefy(model, num_experts=2)


def test_a_forward_of_this_object_alone_is_refused() -> None:
    model = small_vit()
    mlp = model.blocks[3].mlp
    mlp.forward = mlp.forward  # as accelerate does
    with pytest.raises(UserError, match=r"^blocks.3.mlp: its forward is replaced on this object"):
        moefy(model, num_experts=2)


class Block(nn.Module):
    """A layer whose MLP is not followed: its activation is a method of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2, self.rate = nn.Linear(6, 12), nn.Linear(12, 6), 0.5

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.w1(x) if self.rate == 0.0 else self.w1(x).relu()
        return x + self.w2(hidden)


def take_apart(module: nn.Module) -> SplitMLP | None:
    if not isinstance(module, Block):
        return None
    no = nn.Identity()
    mlp = DenseMLP(module.w1, None, module.w2, nn.ReLU(), no, None, no)
    return SplitMLP(mlp, "w1", "w2", also={"w2": nn.Identity()}, settings={"rate": 0.0})


def test_an_adapter_may_return_a_spread_mlp(tmp_path: Path) -> None:
    dense = nn.Sequential(Block(), Block())
    x = torch.randn(3, 5, 6)
    model, receipt = upcycle(
        copy.deepcopy(dense), "switch", 4, "all", renormalise=True, example=x, adapter=take_apart
    )
    assert [row.layer for row in receipt.layers] == ["0.w1", "1.w1"]
    torch.testing.assert_close(model.eval()(x), dense(x), atol=1e-5, rtol=1e-5)
    save_moe(model, tmp_path)
    loaded = load_moe(tmp_path, nn.Sequential(Block(), Block()), take_apart)
    torch.testing.assert_close(loaded(x), model(x), atol=0, rtol=0)


def test_chunks_are_routed_whole() -> None:
    """`chunk_size_feed_forward` saves memory; routers see the whole sequence in any case."""
    config = transformers.AutoConfig.for_model(
        "bert", vocab_size=50, chunk_size_feed_forward=4, **dense_models.SMALL
    )
    dense = transformers.AutoModel.from_config(config).eval()
    model, _ = upcycle(copy.deepcopy(dense), "switch", 2, layers="all", renormalise=True)
    with torch.no_grad():
        torch.testing.assert_close(answer(model), answer(dense), atol=1e-5, rtol=1e-5)
    assert all(layer.routing.load().sum() == 16 for _, layer in moe_layers(model))
