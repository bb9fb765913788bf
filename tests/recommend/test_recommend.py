"""Which router, experts and capacity are recommended: order, evidence, limits, what to type."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import timm
import transformers

import moesuite
from moesuite.config.compose import compose
from moesuite.errors import UserError
from moesuite.nn.moe import moe_layers
from moesuite.recommend.__main__ import main
from moesuite.recommend.advice import recommend
from moesuite.records.record import RunRecord
from moesuite.records.store import record_path, write_record
from tests.conftest import ROOT
from tests.helpers import exit_code
from tests.leaderboard.boards import first_protocols
from tests.leaderboard.records import record_of
from tests.recommend.small_models import HIDDEN, WIDTH, small

BUDGET = {"num_experts": 4, "slots_per_token": 1.0, "layers": "every_other"}


@pytest.fixture
def vit(tmp_path: Path) -> str:
    return small(tmp_path, "vit")


def write(folder: Path, means: dict[str, float], seeds: int = 5, **changes: Any) -> str:
    """Write records of routers with these means, equal but for a little noise."""
    for router, mean in means.items():
        for seed in range(seeds):
            value = mean + (crc32(f"{router}{seed}".encode()) % 100 - 50) / 20_000
            config = {**BUDGET, "router": {"name": router}, **changes.get("config", {})}
            more = {key: value for key, value in changes.items() if key != "config"}
            record: RunRecord = record_of(router, seed, value, config=config, **more)
            write_record(record_path(folder, record.task, record.router, record.id), record)
    return str(folder)


@pytest.fixture(autouse=True)
def made_records() -> Any:
    with first_protocols():
        yield


def routers(recommendation: Any) -> list[str]:
    return [alternative.config.router for alternative in recommendation.alternatives]


def test_what_is_measured_comes_first_and_the_best_of_it(vit: str, tmp_path: Path) -> None:
    records = write(
        tmp_path / "runs", {"dense": 0.8, "relu": 0.7, "expert_choice": 0.9, "usmoe": 0.85}
    )
    advice = recommend(vit, records=[records], count=4)
    assert routers(advice) == ["expert_choice", "usmoe", "relu", "soft"]
    best, _, worst, paper = (alternative.contestant for alternative in advice.alternatives)
    assert [(m.task, m.seeds, m.group, m.verdict) for m in best.measured] == [
        ("mine", 5, 1, "better")
    ]
    assert best.measured[0].difference == pytest.approx(0.1, abs=0.005)
    assert worst.measured[0].verdict == "worse" and worst.measured[0].group == 3
    assert not paper.measured and "2308.00951" in paper.source
    assert advice.alternatives[0].config.num_experts == 4
    assert "all results are of training from scratch" in advice.notes[0]


@pytest.mark.slow
def test_records_that_tell_nothing_apart_leave_the_order_to_papers(
    vit: str, tmp_path: Path
) -> None:
    records = write(tmp_path / "runs", {"dense": 0.8, "usmoe": 0.95}, seeds=3)
    advice = recommend(vit, records=[records], count=9)
    assert routers(advice) == ["expert_choice", "soft"]
    assert "do not tell any two routers apart (results: 1, routers: 1)" in advice.notes[0]


@pytest.mark.slow
def test_upcycled_runs_count_alone_whatever_the_main_setting_is(vit: str, tmp_path: Path) -> None:
    """From scratch, soft is best of three; upcycled, in another setting, usmoe is of two."""
    another = {"optim": {"lr": 5e-4}, "upcycle": "dense.ckpt", "upcycle_state": "resume"}
    upcycled = {"config": another, "contents": {"upcycle": "c0de"}}
    write(tmp_path / "runs", {"dense": 0.8, "soft": 0.95, "relu": 0.7, "usmoe": 0.6})
    means = {"dense": 0.8, "expert_choice": 0.85, "usmoe": 0.9}
    records = write(tmp_path / "upcycled", means, **upcycled)
    advice = recommend(vit, records=[str(tmp_path / "runs"), records], count=2)
    assert routers(advice) == ["usmoe", "expert_choice"]
    assert all(m.upcycled for a in advice.alternatives for m in a.contestant.measured)


@pytest.mark.slow
def test_nothing_better_than_dense_is_said(vit: str, tmp_path: Path) -> None:
    records = write(tmp_path / "runs", {"dense": 0.8, "usmoe": 0.7, "soft": 0.6})
    assert (
        "no router is shown to be better than dense" in recommend(vit, records=[records]).notes[1]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "first"),
    [
        ("gpt2", "relu"),  # expert choice looks ahead
        ("bert", "expert_choice"),
        ("t5", "relu"),  # nor may its decoder look ahead
    ],
)
def test_a_causal_model_gets_a_causal_router(model: str, first: str, tmp_path: Path) -> None:
    means = {"dense": 3.5, "expert_choice": 3.0, "relu": 3.2}
    records = write(
        tmp_path / "runs", means, task="text", family="language", causal=model == "gpt2"
    )
    advice = recommend(small(tmp_path, model), records=[records], length=32, count=1)
    config = advice.alternatives[0].config
    assert config.router == first
    measured = advice.alternatives[0].contestant.measured
    assert [m.verdict for m in measured] == ["better"]  # fewer bits per byte are


@pytest.mark.slow
def test_an_encoder_decoder_gets_another_router_in_its_decoder(tmp_path: Path) -> None:
    advice = recommend(small(tmp_path, "t5"), records=[], length=32)
    first, second = (alternative.config for alternative in advice.alternatives)
    assert first.router == "expert_choice"
    assert first.decoder == {"name": "token_choice", "k": 1}
    assert second.router == "switch" and second.decoder is None


def test_costs_by_hand(vit: str) -> None:
    """8 experts in 2 of 4 blocks, width 32, hidden width 128."""
    choice = recommend(vit, records=[], budget=2.0, parameters=5.0, count=1).alternatives[0]
    assert (choice.config.num_experts, choice.config.slots_per_token) == (8, 2.0)
    mlp, gate = 2 * WIDTH * HIDDEN + WIDTH + HIDDEN, WIDTH * 8
    dense = transformers.AutoModelForImageClassification.from_config(
        transformers.AutoConfig.from_pretrained(vit.removeprefix("hf:"))
    ).num_parameters()
    assert choice.parameters == pytest.approx(1 + 2 * (7 * mlp + gate) / dense, rel=1e-9)
    assert choice.reduced == ["num_experts 8 for 32"]


@pytest.mark.slow
def test_a_smaller_budget_buys_fewer_slots(vit: str) -> None:
    choices = [
        recommend(vit, records=[], budget=budget, count=1).alternatives[0]
        for budget in (2.0, 1.2, 0.95)
    ]
    assert [choice.config.slots_per_token for choice in choices] == [2.0, 1.0, 0.5]
    assert all(c.flops <= budget for c, budget in zip(choices, (2.0, 1.2, 0.95), strict=True))


@pytest.mark.slow
def test_experts_and_layers_follow_the_parameters(vit: str) -> None:
    limits = (1.5, 2.0, 16.0)
    choices = [
        recommend(vit, records=[], parameters=limit, budget=9.0, count=1).alternatives[0]
        for limit in limits
    ]
    layouts = [(choice.config.layers, choice.config.num_experts) for choice in choices]
    assert layouts == [("every_other", 2), ("every_other", 4), ("every_other", 32)]
    assert all(c.parameters <= limit for c, limit in zip(choices, limits, strict=True))


@pytest.mark.slow
def test_what_it_says_to_type_works(vit: str) -> None:
    advice = recommend(vit, records=[], count=1)
    words = shlex.split(advice.command)
    assert words[:4] == ["python", "-m", "moesuite.run", "task=imagenet"]
    config = compose(*words[3:])
    assert config.upcycle == vit and config.router["name"] == "expert_choice"
    dense = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=4)
    call = advice.python.replace(repr(vit), "dense").removeprefix("model, receipt = ")
    model, receipt = eval(call, {"moesuite": moesuite, "dense": dense})
    assert len(receipt.layers) == 2 and len([*moe_layers(model)]) == 2


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    return exit_code(monkeypatch, main, *words)


@pytest.mark.slow
def test_the_commands_of_the_guide_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (ROOT / "docs" / "upcycling.md").read_text(encoding="utf-8")
    lines = [line for line in guide.splitlines() if line.startswith("python -m moesuite.recommend")]
    assert len(lines) == 2
    monkeypatch.chdir(tmp_path)
    for line in lines:
        assert run(monkeypatch, *shlex.split(line)[3:]) == 0
        printed = capsys.readouterr().out
        assert "published" in printed and "model, receipt = moesuite.upcycle(" in printed


def test_json(
    vit: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, f"model={vit}", "alternatives=1", "format=json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["kind"] == "images" and len(printed["mlps"]) == 4
    assert [choice["config"]["router"] for choice in printed["alternatives"]] == ["expert_choice"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "type for example model=timm:vit_base_patch16_224"),
        (["model=vit_tiny"], "unknown library 'vit_tiny'; expected timm:<name>"),
        (["model=timm:vit_tinny"], "nearest: timm:"),
        (["model=timm:resnet18"], "no MLP that can become an MoE layer"),
        pytest.param(
            ["model=<vit>", "budget=0.3"],
            "budget=0.3: nothing fits; expected at least budget=0.",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["model=<vit>", "parameters=1"],
            "parameters=1: nothing fits; expected at least parameters=",
            marks=pytest.mark.slow,
        ),
        (["model=<vit>", "budget=-1"], "budget=-1"),
        (["model=<vit>", "records=nowhere"], "records=nowhere does not exist"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    message: str,
    vit: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *(word.replace("<vit>", vit) for word in words)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_checkpoint_with_moe_layers_is_refused(tmp_path: Path) -> None:
    model = moesuite.moefy(timm.create_model("vit_tiny_patch16_224", img_size=32), num_experts=2)
    moesuite.save_moe(model, tmp_path / "moe.pt")
    with pytest.raises(UserError, match="it has MoE layers; expected a dense model"):
        recommend(str(tmp_path / "moe.pt"))
