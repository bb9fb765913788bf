"""The speed benchmarks run and report ratios; no test asserts a time."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import timm

from moesuite.benchmarks.speed import layer, layouts, scaling, step, upcycling
from moesuite.benchmarks.speed.contestants import PEERS, Size, contestants
from moesuite.benchmarks.speed.layer import LayerOptions, SizeOptions, measure
from moesuite.benchmarks.speed.loop import bare_epochs, lightning_epochs
from moesuite.benchmarks.speed.scaling import ScalingOptions
from moesuite.benchmarks.speed.upcycling import UpcyclingOptions
from moesuite.config.cli import run_command
from moesuite.discovery.names import router_names
from moesuite.nn.moe import MoE
from moesuite.routing.forms import SlotRouting, SoftRouting

SMALL = Size(groups=2, tokens=16, dim=16, hidden=32, num_experts=4)
WORDS = ["experts=4", "groups=2", "tokens=16", "dim=16", "hidden=32", "seconds=0.01"]


@pytest.mark.slow
def test_every_router_and_peer_is_measured_against_dense_and_bare() -> None:
    rows = {row.name: row for row in measure(SMALL, seconds=0.01)}
    assert set(rows) == {"bare", *router_names(), *PEERS}
    assert (
        rows["dense"].both_to_dense
        == rows["bare"].both_to_bare
        == rows["dense"].forward_to_dense
        == 1
    )
    assert all(row.both_ms > 0 and row.both_to_bare > 0 and row.peak > 0 for row in rows.values())


def test_contestants_do_equal_expert_work() -> None:
    for name, contestant in contestants(SMALL).items():
        y = contestant.call(contestant.layer, contestant.x)
        assert y.shape == contestant.x.shape, name
        if isinstance(contestant.layer, MoE) and contestant.layer.router.bounded:
            routing = contestant.layer.routing
            if isinstance(routing, SlotRouting | SoftRouting):
                dispatch, _ = routing.dense()
                assert dispatch.shape[2] * dispatch.shape[3] == SMALL.tokens, name
            else:
                assert routing is not None and len(routing.tokens) == SMALL.rows, name


def test_peers_have_the_hidden_size_of_equal_flops() -> None:
    # gated experts have 3 matrices: 2/3 of the hidden size. 196 tokens in slots for 64 experts: 3
    # each, 192 rows of 196
    size = Size(groups=1, tokens=196, dim=48, hidden=192, num_experts=64)
    found = contestants(size, list(PEERS))
    assert found["st-moe-pytorch"].hidden == 128  # 48 · 4 · 2/3
    assert found["mixtral-eager"].hidden == 128  # 192 · 2/3 · 192/196 = 125.4, to a multiple of 16
    assert found["soft-moe-pytorch"].hidden == found["mixture-of-experts"].hidden == 192


def test_a_router_of_twice_the_work_is_left_out() -> None:
    assert "relu" not in contestants(Size(2, 64, 8, 16, 16), ["relu", "soft"])


@pytest.mark.parametrize(
    "module", [step, *(pytest.param(module, marks=pytest.mark.slow) for module in (layer, layouts))]
)
def test_the_commands_print_a_table(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options, more = SizeOptions, list[str]()
    if module is layer:
        options, more = LayerOptions, ["layers=soft,peers"]
    monkeypatch.setattr("sys.argv", ["speed", *WORDS, *more])
    run_command(module.run, options, module.__doc__)
    assert "dense" in capfd.readouterr().out


def test_scaling_keeps_flops_while_parameters_grow() -> None:
    points = {
        (point.name, point.num_experts): point
        for experts in (1, 4)
        for point in scaling.measure_size(
            Size(1, 16, 16, 32, experts), 0.01, ["soft", "expert_choice"]
        )
    }
    one, four = points["soft", 1], points["soft", 4]
    # 16 slots whatever E is: the experts, and three products of [16, 16] and [16, 16] over the
    # experts'
    assert one.flops == four.flops == pytest.approx(1 + 3 * 16 / (2 * 32))
    assert four.parameters > 3 * one.parameters and points["bare", 4].flops == 1


def test_surgery_holds_one_mlp_beyond_the_result() -> None:
    """Of 4 MLPs that are replaced, one at a time is still there when its experts are made."""
    sizes = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 128,
        "depth": 8,
        "num_heads": 2,
        "num_classes": 2,
    }
    build = partial(timm.create_model, "vit_tiny_patch16_224", **sizes)
    assert upcycling.extra_copies(build, num_experts=4) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_upcycling_is_timed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["experts=2", "rounds=1", "model=vit_tiny_patch16_224"]
    monkeypatch.setattr("sys.argv", ["upcycling", *words])
    run_command(upcycling.run, UpcyclingOptions, upcycling.__doc__)
    assert (
        "clone of the experts" in (shown := capfd.readouterr().out)
        and "copies of one layer's MLP" in shown
    )


@pytest.mark.slow
def test_the_scaling_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "scaling.svg"
    words = [
        "experts=1,4",
        "groups=1",
        "tokens=16",
        "dim=16",
        "hidden=32",
        "seconds=0.01",
        f"plot={plot}",
        "layers=soft,expert_choice",
    ]
    monkeypatch.setattr("sys.argv", ["scaling", *words])
    run_command(scaling.run, ScalingOptions, scaling.__doc__)
    assert "expert_choice" in capfd.readouterr().out and plot.read_text(
        encoding="utf-8"
    ).startswith("<?xml")


def test_a_plot_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for word in ("plot=nowhere/x.svg", "plot=x.txt"):
        monkeypatch.setattr("sys.argv", ["scaling", word])
        with pytest.raises(SystemExit):
            run_command(scaling.run, ScalingOptions, scaling.__doc__)
        assert "expected a .svg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("expert=8", "nearest: experts"),
        ("experts=many", "experts=many: input should be a valid integer"),
        ("layers=sofd", "nearest: soft"),
        ("device=tpu", "device=tpu: expected cpu, or cuda on a machine that has it"),
        ("precision=8", "precision=8: input should be 'float32' or 'bf16-mixed'"),
    ],
)
def test_a_mistyped_option(
    word: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["layer", word])
    with pytest.raises(SystemExit) as stop:
        run_command(layer.run, LayerOptions, layer.__doc__)
    assert stop.value.code == 2 and says in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
@pytest.mark.slow
def test_freed_memory_is_kept() -> None:
    """Page faults of taking 64 MiB again: one per page of 4 KiB, or none."""
    code = """
import resource, sys, torch
from moesuite import keep_freed_memory
if sys.argv[1] == "1":
    assert keep_freed_memory()
found = []
for _ in range(24):  # the heap grows until blocks of both sizes have found their place
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    x = torch.ones(2**24)
    y = x + 1
    del x, y
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(found[12:]))
"""
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, keep], capture_output=True, text=True, check=True
            ).stdout
        )
        for keep in "01"
    ]
    assert faults[1] < 100 < 10_000 < faults[0], faults


@pytest.mark.slow
def test_both_loops_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "data.batch_size=500",
        "logger=none",
        "trainer.enable_progress_bar=false",
        "trainer.enable_checkpointing=false",
    ]
    assert lightning_epochs(words, epochs=1) > 0
    assert bare_epochs(words, epochs=1) > 0
