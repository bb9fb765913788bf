"""Upcycling: exact copies, a receipt that says what changed, for every family of models."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from moesuite import (
    RaggedRouting,
    SlotRouting,
    compose,
    fit,
    load_moe,
    upcycle,
)
from moesuite.discovery.names import router_names
from moesuite.models.candidates import candidates
from moesuite.models.example_inputs import random_example
from moesuite.nn.moe import moe_layers
from tests.helpers import long_except
from tests.surgery.dense_models import MODELS, VIT, build


@pytest.mark.parametrize("name", long_except(MODELS, "vit", "bert", "t5"))
def test_the_receipt_of_every_family(name: str) -> None:
    """Combine weights that sum to 1 and nothing dropped: the model answers as the dense one did."""
    dense, example = build(name), None
    count = len(candidates(dense))
    model, receipt = upcycle(
        copy.deepcopy(dense), "token_choice", 4, layers="all", renormalise=True, k=2
    )
    assert len(receipt.layers) == count >= 2
    for row in receipt.layers:
        assert row.unserved == 0 and row.difference == row.served_difference <= 1e-5 * row.scale, (
            row
        )
    assert receipt.parameters_before == sum(p.numel() for p in dense.parameters())
    assert (
        receipt.parameters_after
        == sum(p.numel() for p in model.parameters())
        > receipt.parameters_before
    )
    example = random_example(dense)
    outputs = [
        m.eval()(**example) if isinstance(example, dict) else m.eval()(example)
        for m in (dense, model)
    ]
    ours, theirs = (output if isinstance(output, Tensor) else output[0] for output in outputs)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["vit", "gpt2", "bert", "eva02"])
def test_every_expert_is_a_copy_and_all_else_is_kept(name: str) -> None:
    dense = build(name)
    state = {key: value.clone() for key, value in dense.state_dict().items()}
    chosen = candidates(copy.deepcopy(dense))[1]
    model, receipt = upcycle(dense, num_experts=3)
    ((layer_name, layer),) = moe_layers(model)
    assert layer_name == chosen.name and list(receipt.skipped.values()) == [
        "not among the chosen layers"
    ]
    for expert in range(3):
        assert torch.equal(layer.experts.up.weight[expert].t(), chosen.mlp.up.weight)
        assert torch.equal(layer.experts.down.weight[expert].t(), chosen.mlp.down.weight)
    kept = {
        key: value
        for key, value in model.state_dict().items()
        if not key.startswith(f"{layer_name}.")
    }
    assert kept and all(torch.equal(state[key], value) for key, value in kept.items())


def test_the_receipt_states_dropped_tokens() -> None:
    _, receipt = upcycle(build("vit"), "expert_choice", 4, layers="all", slots_per_token=1.0)
    assert all(
        0 < row.unserved < 0.6 and row.difference > 1e-3 * row.scale for row in receipt.layers
    )
    assert all(row.served_difference <= 1e-5 * row.scale for row in receipt.layers)
    _, raw = upcycle(
        build("vit"), "expert_choice", 4, layers="all", slots_per_token=1.0, renormalise=False
    )
    assert all(
        row.served_difference > 0.1 * row.scale for row in raw.layers
    )  # weights of about 1/4
    text = str(receipt)
    assert (
        "blocks.1.mlp" in text
        and "% unserved" in text
        and f"{receipt.parameters_before:,} -> " in text
    )


def sums_of_combine_weights(model: nn.Module, example: Any) -> Tensor:
    """Return what the combine weights of each served token of each layer sum to."""
    model.eval()(**example) if isinstance(example, dict) else model.eval()(example)
    sums = [layer.routing.dense()[1].sum(dim=(2, 3)) for _, layer in moe_layers(model)]
    return torch.cat([value[value > 0] for value in sums])


def test_images_are_renormalised_and_language_is_not() -> None:
    vit, gpt2 = (
        upcycle(build(name), num_experts=2, slots_per_token=1.0)[0] for name in ("vit", "gpt2")
    )
    images, language = (
        sums_of_combine_weights(model, random_example(model)) for model in (vit, gpt2)
    )
    torch.testing.assert_close(images, torch.ones_like(images))
    assert language.min() < 0.6  # the one gate of a token that one expert took, about 1/2


def test_unchanged_modules_are_named_with_the_reason() -> None:
    _, receipt = upcycle(build("mixer"), num_experts=2, layers=[0])
    others = {
        f"blocks.{block}.mlp_channels": "not among the chosen layers" for block in range(1, 8)
    }
    assert receipt.skipped == others | {
        f"blocks.{block}.mlp_tokens": "mixes tokens" for block in range(8)
    }
    _, dense = upcycle(build("vit"), "dense")
    assert dense.layers == [] and dense.parameters_after == dense.parameters_before


def test_padding_does_not_count() -> None:
    example: dict[str, Any] = dict(random_example(build("bert")))
    example["attention_mask"] = example["attention_mask"].clone()
    example["attention_mask"][0, 9:] = 0
    _, receipt = upcycle(build("bert"), "hash", 4, layers="all", example=example)
    assert all(row.unserved == 0 and row.difference <= 1e-5 * row.scale for row in receipt.layers)


def test_noise_and_deviation_of_the_gate() -> None:
    plain, noisy = (
        upcycle(build("vit"), num_experts=8)[0],
        upcycle(build("vit"), num_experts=8, expert_noise=0.1)[0],
    )
    ((_, before),), ((_, after),) = moe_layers(plain), moe_layers(noisy)
    # 8 · 32 · 128 values of noise: the deviation is within 3 % of 0.1
    assert (after.experts.up.weight - before.experts.up.weight).std().item() == pytest.approx(
        0.1, rel=0.03
    )
    ((_, wide),) = moe_layers(upcycle(build("vit"), num_experts=64, router_std=1.0)[0])
    assert wide.router.gate.weight.std().item() == pytest.approx(1.0, rel=0.1)


def test_modes_and_dropout_of_the_original_are_kept() -> None:
    dense = timm.create_model("vit_tiny_patch16_224", proj_drop_rate=0.25, **VIT).train()
    model, _ = upcycle(dense, num_experts=2)
    ((_, layer),) = moe_layers(model)
    assert model.training and layer.training and layer.routing is None
    tokens = torch.rand(2, 400, 32)
    first, second = layer.experts(tokens), layer.experts(tokens)
    # after the first dropout the hidden values are mixed, the second one acts on the output: 1/4 of
    # it is 0
    assert (first == 0).float().mean().item() == pytest.approx(0.25, abs=0.02) and not torch.equal(
        first, second
    )
    assert torch.equal(layer.eval().experts(tokens), layer.experts(tokens))


def test_renormalised_weights_by_hand() -> None:
    # token 0 has 0.2 and 0.6, sum 0.8; token 1 has 0.3; one slot is empty, and token 2 has none
    slots = SlotRouting(
        torch.tensor([[[0, 1], [0, -1]]]), torch.tensor([[[0.2, 0.3], [0.6, 0.0]]]), num_tokens=3
    )
    torch.testing.assert_close(
        slots.renormalised().weights, torch.tensor([[[0.25, 1.0], [0.75, 0.0]]])
    )
    pairs = torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1]), torch.tensor([0.2, 0.3, 0.6])
    ragged = RaggedRouting(*pairs, num_groups=1, num_tokens=3, num_experts=2)
    torch.testing.assert_close(ragged.renormalised().weights, torch.tensor([0.25, 1.0, 0.75]))


@pytest.mark.parametrize("router", [name for name in router_names() if name != "dense"])
def test_every_router_starts_where_its_weights_allow(router: str) -> None:
    """Renormalised, served tokens are answered as by the dense MLP.

    Mixtures of tokens are no tokens, and weights of either sign do not sum to 1: these are not.
    """
    _, receipt = upcycle(build("vit"), router, 4, layers=[-1])
    (row,) = receipt.layers
    assert (row.served_difference <= 1e-5 * row.scale) is (
        router not in ("soft", "mixture_of_depths")
    )


@pytest.mark.slow
def test_a_run_with_renormalised_weights(tmp_path: Path) -> None:
    """Trained and accounted, with slots and without limit.

    The trained weights of a token sum to 1, or to its gates.
    """
    words = ["slots_per_token=2", "trainer.max_steps=2", "measure=false", "logger=none"]
    words += [
        "router=token_choice",
        "router.k=2",
        "trainer.enable_progress_bar=false",
        f"records={tmp_path}",
    ]
    for renormalise in (True, False):
        record, path = fit(compose(*words, f"renormalise={str(renormalise).lower()}"))
        assert record.status == "ok"
        model = load_moe(path.with_suffix("") / "last.ckpt")
        sums = sums_of_combine_weights(model, torch.randn(2, 1, 8, 8))
        assert bool(((sums - 1).abs() < 1e-5).all()) is renormalise
