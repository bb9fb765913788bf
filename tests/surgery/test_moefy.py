"""Surgery on real timm architectures.

Nothing else changes, experts are copies, errors name the candidates.
"""

from __future__ import annotations

import copy
import pickle

import pytest
import timm
import torch
from torch import nn

from moesuite import UserError, moefy
from moesuite.models.candidates import candidates
from moesuite.models.mlps.whole import read_mlp
from moesuite.nn.experts import Experts
from moesuite.nn.grouped_linear import layout
from moesuite.nn.moe import MoE, limited_evaluation, moe_layers
from tests.helpers import long_except
from tests.surgery.small_vit import images, small_vit

ARCHITECTURES = {
    "vit_tiny_patch16_224": 12,
    "deit_tiny_patch16_224": 12,
    "mixer_s32_224": 8,
    "swin_tiny_patch4_window7_224": 12,
    "convnext_atto": 12,
    "convnext_tiny": 18,
    "eva02_tiny_patch14_224": 12,
    "eva02_base_patch14_224": 12,
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_finds_the_mlps_of_real_architectures(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    assert len(candidates(model)) == ARCHITECTURES[name]


@pytest.mark.parametrize(
    "name",
    long_except(
        [
            "vit_tiny_patch16_224",
            "mixer_s32_224",
            "swin_tiny_patch4_window7_224",
            "convnext_atto",
            "convnext_tiny",
            "eva02_tiny_patch14_224",
            "eva02_base_patch14_224",
        ],
        "mixer_s32_224",
        "convnext_atto",
    ),
)
def test_one_expert_equals_the_dense_model(name: str) -> None:
    model = timm.create_model(name).eval()
    x = torch.randn(1, *model.default_cfg["input_size"])
    moe = moefy(copy.deepcopy(model), "token_choice", num_experts=1, layers="all").eval()
    with torch.no_grad():
        torch.testing.assert_close(moe(x), model(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("router", ["token_choice", "expert_choice", "soft"])
@pytest.mark.parametrize(
    "name",
    long_except(
        ["mixer_s32_224", "swin_tiny_patch4_window7_224", "convnext_atto"], "mixer_s32_224"
    ),
)
def test_every_router_runs_in_every_shape_of_tokens(router: str, name: str) -> None:
    model = moefy(timm.create_model(name), router, num_experts=4, layers=[-1])
    y = model(torch.randn(2, *model.default_cfg["input_size"]))
    assert torch.isfinite(y).all()
    ((_, layer),) = moe_layers(model)
    assert layer.routing is not None and layer.routing.load().shape == (2, 4)  # one group per image


@pytest.mark.parametrize("gated", ["GluMlp", "SwiGLU", "SwiGLUPacked"])
def test_gated_mlps_are_copied_exactly(gated: str) -> None:
    import timm.layers as layers

    torch.manual_seed(0)
    mlp = getattr(layers, gated)(6, 20, norm_layer=nn.LayerNorm)
    for parameter in mlp.parameters():
        nn.init.normal_(parameter)
    parts = read_mlp(mlp)
    assert parts is not None
    x = torch.randn(5, 6)
    experts = Experts(parts, 3)
    torch.testing.assert_close(experts(x.expand(3, 5, 6))[2], mlp(x))
    torch.testing.assert_close(experts.ragged(x, layout([2, 0, 3])), mlp(x))


def test_layer_choices() -> None:
    def replaced(layers: object) -> list[str]:
        return [name for name, _ in moe_layers(moefy(small_vit(), num_experts=2, layers=layers))]  # type: ignore[arg-type]

    assert replaced("last_half") == ["blocks.2.mlp", "blocks.3.mlp"]
    assert replaced("every_other") == ["blocks.1.mlp", "blocks.3.mlp"]
    assert replaced("all") == [f"blocks.{i}.mlp" for i in range(4)]
    assert replaced([0, -1]) == replaced([0, -1, 3]) == ["blocks.0.mlp", "blocks.3.mlp"]
    assert replaced(["blocks.1.mlp"]) == ["blocks.1.mlp"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": [9]}, "0 blocks.0.mlp, 1 blocks.1.mlp"),
        ({"layers": "lasthalf"}, "nearest: last_half"),
        ({"router": "sfot"}, "nearest: soft"),
        ({"num_experts": 0}, "num_experts=0"),
        ({"router": "token_choice", "k": 9}, "router.k=9"),
        ({"slots_per_token": 100.0}, "slots_per_token=100.0"),
    ],
)
def test_errors_of_bad_arguments_list_what_is_allowed(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        moefy(small_vit(), **arguments)  # type: ignore[arg-type]


def test_a_model_without_mlps_says_so() -> None:
    with pytest.raises(
        UserError, match=r"ConvNeXt has no MLP .* no adapter: GlobalResponseNormMlp"
    ):
        moefy(timm.create_model("convnextv2_atto"))


def test_an_error_leaves_the_model_as_it_was() -> None:
    model = small_vit()
    model.blocks[0].eval()  # frozen by its owner
    with pytest.raises(UserError):
        moefy(model, "token_choice", num_experts=4, layers="all", k=5)
    assert not list(moe_layers(model))
    assert model.training and not model.blocks[0].training and model.blocks[1].training


def test_dense_changes_nothing() -> None:
    model = small_vit()
    before = copy.deepcopy(model.state_dict())
    assert moefy(model, "dense") is model
    assert not list(moe_layers(model))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_the_rest_of_the_model_is_untouched() -> None:
    dense = small_vit()
    moe = moefy(copy.deepcopy(dense), num_experts=3)
    kept = {
        key: value
        for key, value in dense.state_dict().items()
        if ".mlp" not in key or key.startswith(("blocks.0", "blocks.1"))
    }
    assert all(torch.equal(moe.state_dict()[key], value) for key, value in kept.items())
    for expert in range(3):
        weight = moe.state_dict()["blocks.3.mlp.experts.up.weight"][expert]
        assert torch.equal(weight.t(), dense.state_dict()["blocks.3.mlp.fc1.weight"])


def test_the_padding_mask_reaches_the_layers() -> None:
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mlp = timm.layers.Mlp(6, 8)

        def forward(
            self, x: torch.Tensor, attention_mask: torch.Tensor | None = None
        ) -> torch.Tensor:
            return self.mlp(x)

    host = moefy(Host(), "expert_choice", num_experts=2, layers="all")
    x, mask = torch.randn(2, 5, 6), torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    y = host(x, attention_mask=mask)
    assert y[0, 3:].abs().sum() == 0
    torch.testing.assert_close(y[:1, :3], host(x[:1, :3]))
    with pytest.raises(UserError, match="padding mask of shape"):
        host(x, attention_mask=mask[:, :4])


def test_models_copy_and_pickle_after_a_forward() -> None:
    model = moefy(small_vit(), num_experts=4).train()
    model(images())
    copied = copy.deepcopy(model).eval()
    loaded = pickle.loads(pickle.dumps(copied))
    assert torch.equal(loaded(images()), model.eval()(images()))
    layers = [layer for _, layer in moe_layers(copied)]
    assert (
        layers[0].context is layers[1].context
        and layers[0].context is not next(moe_layers(model))[1].context
    )


def test_limited_evaluation_is_undone() -> None:
    model = moefy(small_vit(), num_experts=4)
    routers = [layer.router for _, layer in moe_layers(model)]
    with limited_evaluation(model):
        assert all(router.limited for router in routers)
    assert not any(router.limited for router in routers)


def test_a_layer_stands_alone() -> None:
    from moesuite.routers.token_choice import TokenChoice
    from moesuite.routing.router import LayerSpec
    from moesuite.testing import small_mlp

    layer = MoE(TokenChoice(LayerSpec(6, 2)), Experts(small_mlp(), 2))
    assert layer(torch.randn(4, 6)).shape == (4, 6)
    assert layer(torch.randn(2, 3, 4, 6)).shape == (2, 3, 4, 6)
