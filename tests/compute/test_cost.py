"""FLOPs and parameters against numbers worked by hand."""

from __future__ import annotations

import copy
import itertools
import json
import resource
import time
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from moesuite import moefy
from moesuite.compute.__main__ import main, show
from moesuite.compute.cost import cost, measured
from moesuite.compute.flop_counter import FORMULAS, count_flops
from moesuite.compute.memory import examples_that_fit
from moesuite.compute.paper_models import SOFT_MOE
from moesuite.compute.timing import compare, interleaved, peak_memory, peak_of, timing_of
from moesuite.config.discovery import router_names
from moesuite.errors import UserError
from moesuite.records.provenance import environment
from tests.compute.counted import assert_as_counted
from tests.conftest import Command

# ViT: 16 tokens, width 16, hidden 64, 2 heads, 4 blocks, 10 classes, no class token
TOKENS, WIDTH, HIDDEN, BLOCKS = 16, 16, 64, 4
PATCH = 2 * TOKENS * 4 * WIDTH
ATTENTION = 2 * TOKENS * WIDTH * 4 * WIDTH + 2 * 2 * TOKENS * TOKENS * WIDTH
MLP = 2 * TOKENS * 2 * WIDTH * HIDDEN
KERNEL_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
HEAD = 2 * WIDTH * 10


def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224",
        img_size=8,
        patch_size=2,
        in_chans=1,
        num_classes=10,
        embed_dim=16,
        depth=4,
        num_heads=2,
        class_token=False,
        global_pool="avg",
    )


def images(batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_formulas_by_hand() -> None:
    # one head of width 4, 5 tokens: q kᵀ and the product with v, each 2 · 5 · 5 · 4 = 200
    q = torch.randn(1, 1, 5, 4)
    assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q)).total == 400
    # 5 rows of width 8, each with one of three matrices [8, 16]: 2 · 5 · 8 · 16
    x, w, ends = (
        torch.randn(5, 8),
        torch.randn(3, 8, 16),
        torch.tensor([2, 2, 5], dtype=torch.int32),
    )
    assert count_flops(lambda: F.grouped_mm(x, w, offs=ends)).total == 1280
    assert count_flops(lambda: w[0].t() @ x[0]).total == 2 * 8 * 16
    assert count_flops(lambda: x[0] @ x[1]).total == 2 * 8


def test_the_dense_model_by_hand() -> None:
    found = cost(vit(), images())
    assert found.forward.executed.total == PATCH + BLOCKS * (ATTENTION + MLP) + HEAD
    assert found.forward.executed.experts == found.forward.executed.padding == 0
    assert found.parameters_active == found.parameters_total
    assert found.layers == [] and found.slots_per_token == 1
    # three forwards; less the gradient of the images themselves, which nobody needs; and
    # attention's backward computes the scores once more: 2 · T² · D a block
    again = BLOCKS * 2 * TOKENS * TOKENS * WIDTH
    assert found.training.executed.total == 3 * found.forward.executed.total - PATCH + again


def test_token_choice_without_limit_costs_the_dense_model_and_its_gate() -> None:
    model = moefy(vit(), "token_choice", num_experts=4)
    executed = cost(model, images(), routings=measured(model, images())).forward.executed
    assert executed.experts == pytest.approx(
        2 * MLP
    )  # two of the four blocks, K = 1: each token once
    assert executed.backbone == PATCH + BLOCKS * ATTENTION + 2 * MLP + HEAD
    assert executed.router == 2 * (2 * TOKENS * WIDTH * 4)
    # a multiply-add for each row that runs, those that fill up a pair of experts included
    row = 2 * 2 * WIDTH * HIDDEN
    assert executed.dispatch_combine == pytest.approx(
        (executed.experts + executed.padding) / row * 2 * WIDTH
    )
    assert 0 <= executed.padding <= executed.experts / 7  # at most 8/7 of the rows run


def test_empty_slots_are_padding() -> None:
    # capacity 2 · 16 / 4 = 8 slots for each of 4 experts: 32 slots for at most 16 pairs; training
    # takes three products
    found = cost(
        moefy(vit(), "token_choice", num_experts=4, slots_per_token=2.0, layers=[-1]), images()
    )
    row = 2 * 2 * WIDTH * HIDDEN
    executed, activated = found.training.executed, found.training.activated
    assert executed.experts + executed.padding == pytest.approx(3 * 32 * row)
    assert executed.padding >= 3 * 16 * row
    assert activated.padding == 0 and activated.experts == executed.experts
    assert activated.dispatch_combine < executed.dispatch_combine


def test_soft_moe_by_hand() -> None:
    # 4 experts of ceil(1 · 16 / 4) = 4 slots: logits, dispatch and combine are three products of
    # [16, 16] and [16, 16]
    executed = cost(moefy(vit(), "soft", num_experts=4, layers=[-1]), images()).forward.executed
    einsum = 2 * TOKENS * 16 * WIDTH
    assert executed.router == einsum
    assert executed.dispatch_combine == 2 * einsum
    assert executed.experts == MLP


def test_active_parameters_by_hand() -> None:
    # an expert has 16·64 + 64 + 64·16 + 16 = 2128 parameters; with one slot per token 3 of 4
    # experts are inactive
    dense = vit()
    found = cost(moefy(copy.deepcopy(dense), "token_choice", num_experts=4, layers=[-1]), images())
    total = sum(p.numel() for p in dense.parameters()) + 3 * 2128 + 4 * WIDTH
    assert found.parameters_total == total
    assert found.parameters_active == total - 3 * 2128
    (layer,) = found.layers
    assert (layer.parameters_total, layer.parameters_active) == (
        4 * 2128 + 4 * WIDTH,
        2128 + 4 * WIDTH,
    )


@pytest.mark.parametrize("router", router_names())
def test_analytic_is_counted_for_every_router(router: str) -> None:
    torch.manual_seed(0)
    draws = router == "comparison"  # the tokens that it compares
    assert_as_counted(moefy(vit(), router, num_experts=4), images(), tolerance=0.01 if draws else 0)


def test_soft_ablations_are_counted() -> None:
    for options in (
        {"dispatch": "uniform"},
        {"combine": "uniform"},
        {"dispatch": "identity", "combine": "identity"},
    ):
        assert_as_counted(moefy(vit(), "soft", num_experts=4, **options), images())


FAMILIES: dict[str, dict[str, Any]] = {
    "deit_tiny_patch16_224": {"img_size": 32, "embed_dim": 48, "depth": 2},
    "mixer_s32_224": {"img_size": 64},
    "swin_tiny_patch4_window7_224": {
        "img_size": 56,
        "embed_dim": 24,
        "depths": (1, 1, 2, 1),
        "window_size": 7,
    },
    "convnext_atto": {"dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1)},
    "eva02_tiny_patch14_224": {"img_size": 56, "embed_dim": 48, "depth": 2, "num_heads": 3},
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("router", ["dense", "soft", "token_choice", "expert_choice"])
def test_analytic_is_counted_for_every_family(name: str, router: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10, **FAMILIES[name])
    size = FAMILIES[name].get("img_size", 64)
    x = torch.randn(2, 3, size, size)
    assert_as_counted(moefy(model, router, num_experts=4, example=x), x)


def test_the_meta_device_gives_the_same() -> None:
    torch.manual_seed(0)
    real = cost(moefy(vit(), "expert_choice", num_experts=4), images())
    with torch.device("meta"):
        model = moefy(vit(), "expert_choice", num_experts=4)
    found = cost(model, images().to("meta"))
    assert found.forward == real.forward and found.training == real.training
    assert (found.parameters_total, found.activation_bytes) == (
        real.parameters_total,
        real.activation_bytes,
    )


def test_an_adaptive_router_is_expected_at_its_budget() -> None:
    model = moefy(vit(), "relu", num_experts=4, slots_per_token=1.5, layers=[-1])
    expected = cost(model, images())
    found = cost(model, images(), routings=measured(model, images()))
    assert expected.slots_per_token == 1.5 and expected.forward.executed.experts == pytest.approx(
        1.5 * MLP
    )
    assert found.slots_per_token > 1.6  # half of the gates or more are open before training


def test_accounting_changes_nothing() -> None:
    model = moefy(vit(), "relu", num_experts=4).train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    cost(model, images())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and model.training
    assert all(p.grad is None for p in model.parameters())


@torch.library.custom_op("custom::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    """An operation that no formula knows."""
    return x * 2


doubled.register_fake(lambda x: torch.empty_like(x))


class Custom(nn.Module):
    """A module with an operation of its own and a Fourier transform."""

    def forward(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        """[..., D] -> [..., D]."""
        return torch.fft.rfft(doubled(x.detach()), dim=-1).real[..., :1] + x


def test_what_has_no_formula_is_named() -> None:
    model = vit()
    model.set_submodule("blocks.1.attn", Custom())
    name = "VisionTransformer.blocks.1.attn"
    assert cost(model, images()).uncounted == [f"{name}: aten._fft_r2c", f"{name}: custom.doubled"]


@torch.library.custom_op("custom::opaque", mutates_args=())
def opaque(x: torch.Tensor) -> torch.Tensor:
    """An operation that cannot even be run without values."""
    return x.clone()


class Opaque(nn.Module):
    """Hides attention from accounting."""

    def forward(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        """[..., D] -> [..., D]."""
        return opaque(x.detach()) + x


@pytest.mark.parametrize(
    ("router", "options"), [("expert_choice", {}), ("usmoe", {}), ("soft", {"dispatch": "uniform"})]
)
def test_an_operation_that_needs_values_is_run_and_named(
    router: str, options: dict[str, Any]
) -> None:
    model = moefy(vit(), router, num_experts=4, **options)
    whole = cost(model, images()).forward.executed
    model.set_submodule("blocks.1.attn", Opaque())
    found = cost(model, images())
    assert found.uncounted == ["VisionTransformer.blocks.1.attn: custom.opaque"]
    assert (
        found.forward.executed.total == whole.total - ATTENTION
        and found.forward.executed.experts == whole.experts
    )
    assert found.training.executed.total > 2.5 * found.forward.executed.total


def test_inputs_that_the_model_refuses() -> None:
    with pytest.raises(
        UserError, match=r"VisionTransformer refuses inputs of shape \(3, 1, 9, 9\): .*; allowed"
    ):
        cost(vit(), torch.randn(3, 1, 9, 9))


@pytest.mark.slow
def test_the_cost_table_of_soft_moe_needs_no_memory_for_weights(command: Command) -> None:
    """Parameters to the printed digits (some are cut off there: 108.6 M is 108 M), GFLOP per image within 1 %."""
    rows = json.loads(command("moesuite.compute", "table=soft_moe", "format=json").stdout)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 2e9
    assert [set(row) for row in rows] == [{"model", "params", "gflop_per_image"}] * 9
    found = {row["model"]: row for row in rows}
    assert list(found) == [model.name for model in SOFT_MOE]
    assert (rows[0]["model"], rows[-1]["model"]) == ("ViT-S/16", "Soft-H/14-256E")
    for model in SOFT_MOE:
        row = found[model.name]
        if model.params is not None:
            printed, digit = model.params
            assert abs(row["params"] - printed) < digit, model.name
        if model.gflop is not None:
            assert row["gflop_per_image"] == pytest.approx(model.gflop, rel=0.01), model.name
    assert found["Soft-H/14-256E"]["params"] == pytest.approx(54e9, rel=0.01)


def test_the_table_as_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"model": "m", "params": 27_318_100_000, "gflop_per_image": 283.66}
    show([{**row, "paper_params": 27.3e9, "paper_gflop_per_image": 284.6}], "markdown")
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert [cell.strip() for cell in last.split("|")] == [
        "",
        "m",
        "27.3 B",
        "27.3 B",
        "283.66",
        "284.6",
        "",
    ]


@pytest.mark.parametrize(
    ("word", "says"), [("table=soft", "input should be 'soft_moe'"), ("tabel=x", "nearest: table")]
)
def test_bad_input_of_the_table(
    word: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["compute", word])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and says in capsys.readouterr().err


def test_attention_with_fewer_heads_of_keys_than_of_queries() -> None:
    # 4 heads of queries [5, 8] meet keys [7, 8] and values [7, 8]: 2·4·5·7·8 each for scores and
    # their product
    query, key = torch.randn(1, 4, 5, 8, requires_grad=True), torch.randn(1, 2, 7, 8)

    def forward() -> None:
        F.scaled_dot_product_attention(query, key, key, enable_gqa=True)

    with torch.no_grad():
        assert count_flops(forward).total == 2 * 2 * 4 * 5 * 7 * 8
    # backward: gradients of queries and keys and the scores once more over 8, gradients of scores
    # and values over 8
    assert FORMULAS[KERNEL_BACKWARD](None, query.shape, key.shape, key.shape) == 2 * 4 * 5 * 7 * (
        3 * 8 + 2 * 8
    )


def test_interleaved_measures_in_turns() -> None:
    calls: list[str] = []
    samples = interleaved(
        [lambda: calls.append("a"), lambda: calls.append("b")], seconds=0.01, least=5, most=5
    )
    assert [len(sample) for sample in samples] == [5, 5]
    assert calls == ["a", "b"] * 6  # once to warm up


def test_compare_gives_median_and_ratio() -> None:
    x = torch.randn(64, 64)
    found = compare(lambda: [x @ x for _ in range(20)], lambda: x @ x, seconds=0.05)
    assert found.n >= 5 and found.median > 0 and found.iqr >= 0
    assert found.ratio_to_dense > 1


def test_statistics_of_rounds_by_hand() -> None:
    """Of 1, 2, 3, 4, 5 (the sixth round is left out) quartiles are 1.5 and 4.5; ratios 1/2, 2, 1, 1, 5: median 1."""
    found = timing_of([1.0, 2.0, 3.0, 4.0, 5.0, 100.0], [2.0, 1.0, 3.0, 4.0, 1.0, 1.0])
    assert (found.n, found.median, found.iqr, found.quartiles) == (5, 3.0, 3.0, (1.5, 4.5))
    assert (found.ratio_to_dense, found.dense_median, found.dense_quartiles) == (
        1.0,
        2.0,
        (1.0, 3.5),
    )


@given(st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=3, max_size=40))
def test_the_ratio_lies_between_the_quotients_of_quartiles(
    rounds: list[tuple[float, float]],
) -> None:
    """Whatever a machine does to single rounds: the gate relies on it."""
    found = timing_of([ours for ours, _ in rounds], [theirs for _, theirs in rounds])
    assert found.quartiles is not None and found.dense_quartiles is not None
    (low, high), (dense_low, dense_high) = found.quartiles, found.dense_quartiles
    assert low / dense_high * (1 - 1e-9) <= found.ratio_to_dense <= high / dense_low * (1 + 1e-9)


def test_a_cpu_is_timed_by_the_clock_beside_an_idle_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # the events of a GPU that does nothing say how long launching took: nearly nothing, and 0 bytes
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("asked the GPU")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in (
        "Event",
        "max_memory_allocated",
        "memory_allocated",
        "mem_get_info",
        "get_device_name",
    ):
        monkeypatch.setattr(torch.cuda, name, refuse)
    ticks = itertools.count()
    monkeypatch.setattr(
        time, "perf_counter", lambda: float(next(ticks))
    )  # each call is one tick long
    assert interleaved(
        [lambda: None], seconds=0.01, least=2, most=2, device=torch.device("cpu")
    ) == [[1.0, 1.0]]
    assert (
        peak_memory(torch.device("cpu")) > 2**20
        and examples_that_fit(1.0, 0.0, torch.device("cpu")) > 1
    )
    assert environment.__wrapped__("cpu")["device"]


def test_the_peak_of_a_function() -> None:
    # two tensors of 1 MiB at a time, the second of them twice
    def run() -> None:
        for _ in range(2):
            x = torch.ones(2**18)
            y = x + 1
            del x, y

    assert peak_of(run) == pytest.approx(2 * 2**20, rel=0.01)
