"""MLPs of real architectures: which become MoE layers by default, if they are named, or never."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from moesuite import UserError, moefy, upcycle
from moesuite.models.candidates import survey
from moesuite.nn.moe import moe_layers
from tests.models.mlps.models import build, on_meta

ONE = "sees one token of each image"
NONE = "sees no tokens of the images"
HEADS = "for tokens [2, 3, 2]"  # returned is a bias for each head, of two coordinates

# of each: MLPs by default, and the end of what is said of each kind of the others
FAMILIES: dict[str, tuple[int, set[str]]] = {
    "tiny_vit": (3, set()),  # norm first: `fc1` is replaced, behind the norm
    "siglip vit": (2, {ONE}),
    "cait": (2, {ONE}),
    "xcit": (2, {ONE}),
    "vit_relpos": (2, {NONE}),  # two heads: 2 values in, 2 out
    "vit_srelpos": (2, {NONE}),
    "swinv2_cr": (2, {HEADS}),
    "falcon_h1": (0, {"differs from down(act(gate x) · up x) by 2.5% of its output"}),
    "deepseek_v4": (0, {"by 99.9% of its output"}),  # clamps
    "seed_oss": (2, set()),
    "phi3": (2, set()),
    "modernbert": (2, set()),
    "moonshine": (3, set()),
    "beit": (2, set()),
    "siglip_vision": (2, {ONE}),
    "siglip": (4, {ONE}),
}
SLOW = {
    "volo": (18, {ONE}),
    "gcresnext": (0, {"of its output"}),  # LayerNorm before the activation
    "coatnet_rmlp": (16, {HEADS}),
    "maxvit_rmlp": (14, {HEADS, NONE}),
}


@pytest.mark.parametrize(
    "name", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_what_becomes_an_moe_layer_by_default(name: str) -> None:
    count, ends = (FAMILIES | SLOW)[name]
    found = survey(on_meta(name))
    reasons = {*found.refused.values(), *found.aside.values()}
    assert len(found.known) - len(found.aside) == count
    assert all(reason.endswith(tuple(ends)) for reason in reasons)
    assert all(any(reason.endswith(end) for reason in reasons) for end in ends)


def test_layers_of_one_model_may_differ() -> None:
    """Gemma3n drops 95 % of the gate in its first layer, and nothing in its second."""
    found = survey(on_meta("gemma3n"))
    assert [candidate.name for candidate in found.known] == ["layers.1.mlp"]
    assert "by 101.7% of its output" in found.refused["layers.0.mlp"]


@pytest.mark.parametrize(
    "name", ["tiny_vit", "siglip vit", "seed_oss", "moonshine", "beit", "siglip"]
)
def test_upcycled_models_start_at_the_dense_one(name: str) -> None:
    model, receipt = upcycle(build(name), "token_choice", 2, "all", renormalise=True)
    assert receipt.verdict.startswith("starts at the dense model")
    assert len(list(moe_layers(model))) == FAMILIES[name][0] == len(receipt.layers)
    assert FAMILIES[name][1] <= set(receipt.skipped.values())


def test_mlps_that_see_one_token_an_image_can_be_named() -> None:
    model = moefy(build("siglip vit"), num_experts=2, layers=["attn_pool.mlp", 0])
    assert [name for name, _ in moe_layers(model)] == ["blocks.0.mlp", "attn_pool.mlp"]


def test_refusals_say_which_module_and_why() -> None:
    with pytest.raises(UserError, match=r"FalconH1MLP at 0 differs from down\(act\(gate x\)"):
        moefy(build("falcon_h1"))
    with pytest.raises(
        UserError, match=r"'layers.0.mlp' cannot .* Gemma3nTextMLP differs .* 0 layers.1.mlp"
    ):
        moefy(build("gemma3n"), layers=["layers.0.mlp"])


@pytest.mark.parametrize(
    ("name", "besides"),
    [
        ("switch", ["encoder.block.0.layer.1.mlp", "decoder.block.0.layer.2.mlp"]),
        ("qwen2_moe", []),
        ("gpt_oss", []),
        ("minimax_m2", []),
    ],
)
def test_a_mixture_of_experts_is_told_to_reroute(name: str, besides: list[str]) -> None:
    with pytest.raises(UserError, match=r"mixture of experts already .* moesuite.reroute") as error:
        upcycle(build(name))
    assert ("MLPs that are to be replaced all the same" in str(error.value)) == bool(besides)
    if besides:
        assert f"layers={besides}" in str(error.value)
        model = moefy(build(name), num_experts=2, layers=besides)
        assert [layer for layer, _ in moe_layers(model)] == besides


def test_a_shared_expert_becomes_a_mixture_only_if_it_is_named() -> None:
    model = moefy(build("qwen2_moe"), num_experts=2, layers=["layers.1.mlp.shared_expert"])
    assert [name for name, _ in moe_layers(model)] == ["layers.1.mlp.shared_expert"]


def test_nothing_is_left_after_all_became_moe_layers() -> None:
    model = moefy(build("cait"), num_experts=2, layers="all")
    with pytest.raises(
        UserError, match=r"by default: Mlp at blocks_token_only.0.mlp sees one token"
    ):
        moefy(model)
    model = moefy(build("beit"), num_experts=2, layers="all")
    with pytest.raises(UserError, match="MoE layers of moesuite already"):
        moefy(model)


class Twice(nn.Module):
    """One MLP at two places."""

    def __init__(self) -> None:
        super().__init__()
        mlp = timm.layers.Mlp(6, 8)
        self.first, self.blocks = mlp, nn.ModuleList([nn.Linear(6, 6), mlp])

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks[1](self.blocks[0](self.first(x)))


def test_an_mlp_at_two_places_stays_shared() -> None:
    model = moefy(Twice(), "token_choice", num_experts=1, layers="all")
    assert model.first is model.blocks[1]
    assert [name for name, _ in moe_layers(model)] == ["first"]
    torch.manual_seed(0)
    dense = Twice()
    x = torch.randn(2, 3, 6)
    y = dense(x)
    torch.testing.assert_close(moefy(dense, "token_choice", num_experts=1, layers="all")(x), y)


def test_adapters_are_checked_too() -> None:
    from tests.surgery.dense_models import FeedForward, take_apart

    model = nn.Sequential(FeedForward())
    assert [candidate.name for candidate in survey(model, take_apart).known] == ["0"]

    class Scaled(FeedForward):
        def forward(self, x: Tensor) -> Tensor:
            return 1.25 * super().forward(x)

    host = nn.Sequential(Scaled())
    with pytest.raises(UserError, match=r"Scaled at 0 differs from down\(act\(up x\)\) by 25.0%"):
        moefy(host, adapter=take_apart)


def test_weights_of_two_dtypes_are_refused() -> None:
    """As T5 in half precision, which keeps `wo` in float32."""
    host = nn.Sequential(timm.layers.Mlp(6, 8).half())
    host[0].fc2.float()
    with pytest.raises(UserError, match=r"torch.float16 and torch.float32; .* model.float\(\)"):
        moefy(host)


class Quantised(nn.Parameter):
    """As libraries of quantisation store weights."""


def test_weights_that_are_not_plain_are_not_read() -> None:
    host = nn.Sequential(timm.layers.Mlp(6, 8))
    host[0].fc1.weight = Quantised(host[0].fc1.weight.detach())
    with pytest.raises(UserError, match="Mlp at 0 has the .*Linear fc1 with weights of"):
        moefy(host)


class Projector(nn.Module):
    """Has an MLP and does nothing but call it, as that of VideoLLaMA 3."""

    def __init__(self) -> None:
        super().__init__()
        self.readout = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(x)


def test_a_module_that_calls_an_mlp_is_no_second_one() -> None:
    model = nn.Sequential(nn.Linear(8, 8), Projector())
    assert [candidate.name for candidate in survey(model).known] == ["1.readout"]
    assert [name for name, _ in moe_layers(moefy(model, "token_choice", 2))] == ["1.readout"]


def test_a_model_that_does_nothing_but_call_an_mlp_has_that_one() -> None:
    found = survey(Projector())
    assert [candidate.name for candidate in found.known] == ["readout"] and not found.refused
    assert survey(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))).known == []
