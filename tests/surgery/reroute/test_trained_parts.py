"""Biases, clamps, corrections, capacities and second outputs of trained layers."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn

from moesuite import UserError, load_moe, reroute, save_moe, upcycle
from moesuite.models.example_inputs import random_example
from moesuite.models.moe_blocks.blocks import Block, moe_reason, read_blocks
from moesuite.nn.moe import moe_layers
from tests.models.backbones import build as build_dense
from tests.surgery.reroute.moe_types import build
from tests.surgery.small_vit import small_vit


def block(kind: str) -> Block:
    read = next(iter(read_blocks(build(kind)).values()))
    assert isinstance(read, Block), read
    return read


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        # k, normalises, scale of the gate, scores, scale of the layer
        ("gpt_oss", (2, True, 1.0, "softmax", 1.0)),
        ("openai_privacy_filter", (2, True, 0.5, "softmax", 2.0)),
        ("olmoe", (2, False, 1.0, "softmax", 1.0)),
        ("minimax_m2", (2, True, 1.0, "sigmoid", 1.0)),
        ("switch_transformers", (1, False, 1.0, "softmax", 1.0)),
        ("minimax_m3_vl", (2, True, 1.0, "sigmoid", 2.0)),
        ("cohere2_moe", (2, True, 1.0, "softmax", 0.5)),  # the average with a shared expert
    ],
)
def test_gates_are_read_by_what_they_compute(
    kind: str, rule: tuple[int, bool, float, str, float]
) -> None:
    read = block(kind)
    gate = read.gate
    found = gate.k, gate.normalises, round(gate.scale, 4), gate.score, read.scale
    assert found == rule


def test_a_biased_gate_of_gpt_oss_under_token_choice() -> None:
    """The top two logits with their bias, by softmax: the model's own rule in other words."""
    model = build("gpt_oss")
    expected = model(**random_example(model)).logits
    _, rows = reroute(model, "token_choice")
    torch.testing.assert_close(
        model(**random_example(model)).logits, expected, atol=1e-4, rtol=1e-4
    )
    assert all(row.kept == 1 and row.difference <= 1e-5 * row.scale for row in rows)
    model.train()(
        **random_example(model), labels=random_example(model)["input_ids"]
    ).loss.backward()
    layer = next(layer for _, layer in moe_layers(model))
    assert layer.router.gate.bias.grad.abs().sum() > 0
    assert layer.experts.down_proj_bias.grad.abs().sum() > 0


def test_gpt_oss_clamps_its_experts_by_hand() -> None:
    """(clip(up) + 1) · gate · σ(1.702 gate), gate and up interleaved, both at most 7."""
    read = block("gpt_oss")
    experts = read.trained_experts()
    x = 50 * torch.randn(8, 3, 32, generator=torch.Generator().manual_seed(0))
    both = x @ read.experts.gate_up_proj + read.experts.gate_up_proj_bias[:, None]
    gate, up = both[..., ::2].clamp(max=7), both[..., 1::2].clamp(-7, 7)
    hidden = (up + 1) * gate * torch.sigmoid(1.702 * gate)
    expected = hidden @ read.experts.down_proj + read.experts.down_proj_bias[:, None]
    assert both.abs().max() > 7  # so that clamping shows
    torch.testing.assert_close(experts(x), expected, atol=1e-3, rtol=1e-4)


def test_loss_free_takes_the_correction_that_the_block_holds() -> None:
    """MiniMax-M2 chooses by σ(z) + b: with the trained b, loss_free makes the same choices."""
    _, rows = reroute(build("minimax_m2"), "loss_free")
    assert all(row.kept == 1 for row in rows)
    assert all(row.difference <= 1e-5 * row.scale for row in rows)


def test_switch_keeps_its_capacity_per_sequence() -> None:
    """Of 16 tokens each expert takes two; the rest goes by, as in the model."""
    model = build("switch_transformers")
    for module in model.modules():
        if hasattr(module, "expert_capacity"):
            module.expert_capacity = 2
    expected = model(**random_example(model)).logits
    _, rows = reroute(model, "own")
    torch.testing.assert_close(model(**random_example(model)).logits, expected)
    assert min(row.pairs_per_token for row in rows) == 1  # of the tokens that were served
    layer = next(layer for _, layer in moe_layers(model))
    assert int(layer.routing.load().max()) == 2 and layer.routing.load().sum() < 32
    assert [layer.in_decoder for _, layer in moe_layers(model)] == [False, False, True, True]


def test_padding_of_a_rerouted_gpt_oss() -> None:
    model, _ = reroute(build("gpt_oss"), "usmoe")
    ids = random_example(model)["input_ids"]
    padded = torch.cat([ids, ids.new_zeros(2, 5)], dim=1)
    mask = (torch.arange(21) < 16).expand(2, -1).long()
    alone = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    together = model(input_ids=padded, attention_mask=mask).logits[:, :16]
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("router", ["own", "usmoe"])
@pytest.mark.parametrize("kind", ["gpt_oss", "minimax_m2", "switch_transformers"])
def test_saved_copied_and_pickled(kind: str, router: str, tmp_path: Path) -> None:
    model, _ = reroute(build(kind), router)
    example = random_example(model)
    expected = model(**example).logits
    save_moe(model, tmp_path / "model")
    copies = [load_moe(tmp_path / "model"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for other in copies:
        torch.testing.assert_close(other(**example).logits, expected, atol=1e-5, rtol=1e-5)


def test_layers_that_can_be_read_are_rerouted_by_name() -> None:
    """DeepSeek V4 chooses experts by token id in its first layers, by a gate in the others."""
    model, rows = reroute(build("deepseek_v4"), "own", layers=["model.layers.1.mlp"])
    assert len(rows) == 1 and rows[0].identity <= 1e-6 * rows[0].scale
    assert model(**random_example(model)).logits.isfinite().all()


def test_a_dense_model_has_no_reason_and_a_rerouted_one_another() -> None:
    assert moe_reason(build_dense("gpt2")) is None
    model, _ = reroute(build("gpt_oss"), "own")
    assert moe_reason(model) is None
    with pytest.raises(UserError, match="those that it has are of moesuite already"):
        reroute(model)


def test_a_layer_that_the_example_does_not_reach() -> None:
    class TwoPaths(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text, self.image = (build("gpt_oss").model.layers[0].mlp for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.text(x)[0]
            return y

    with pytest.raises(UserError, match="image: the example does not reach this layer"):
        reroute(TwoPaths(), "own", example=torch.randn(2, 5, 32))


def test_loss_free_divides_weights_where_the_model_does() -> None:
    for divides in (False, True):
        layer = next(moe_layers(reroute(dots1(divides), "loss_free")[0]))[1]
        assert layer.router.normalise is divides


def dots1(divides: bool) -> nn.Module:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "moe_intermediate_size": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
    config = transformers.Dots1Config(
        **sizes | heads | experts,
        num_hidden_layers=1,
        first_k_dense_replace=0,
        n_shared_experts=1,
        vocab_size=50,
        norm_topk_prob=divides,
    )
    return transformers.Dots1ForCausalLM(config)


def test_within_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        _, rows = reroute(build("olmoe"), "own")
        _, receipt = upcycle(small_vit(), num_experts=2, renormalise=True)
    assert max(row.identity / row.scale for row in rows) < 1e-5
    assert max(row.difference / row.scale for row in receipt.layers) < 1e-5
