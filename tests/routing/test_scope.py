"""Statistics over processes.

Two of them, with half of the batch each, train as one does with all of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from transformers import OlmoeConfig, OlmoeForCausalLM

from moesuite import load_moe, moefy, reroute, save_moe, upcycle
from moesuite.config.compose import compose
from moesuite.errors import UserError
from moesuite.nn.moe import moe_layers, unread_losses
from moesuite.records.identity import identity
from moesuite.routing.losses import balance_loss, importance_loss, z_loss
from moesuite.routing.scope import Scope
from moesuite.train.build import build_models, build_task
from tests.conftest import Command
from tests.routing.processes import CASES, LOCAL, WORLD, Case, train, work


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gloo")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def assert_equal(first: Tensor, second: Tensor, tolerance: float) -> None:
    """Assert that numbers differ by at most `tolerance`, relative to the largest if above 1."""
    scale = max(1.0, second.nan_to_num().abs().max().item())
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance * scale, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_train_as_one(case: Case, processes: list[dict[str, Any]]) -> None:
    """Losses, averaged gradients, weights and running state of three steps.

    Numbers of real tokens differ between the processes.
    """
    whole = train(case)
    # without a capacity, rounding of larger sums
    tolerance = 3e-6 if case[0] == "expert_threshold" else 1e-6
    for process in processes:
        halves = process["found"][str(case)]
        assert len(halves) == len(whole)
        for half, one in zip(halves, whole, strict=True):
            assert_equal(half, one, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("case", LOCAL, ids=str)
def test_local_statistics_are_means_over_processes(
    case: Case, processes: list[dict[str, Any]]
) -> None:
    """Local statistics: gradients and state are means of what the two halves give alone."""
    first, second = (train(case, steps=1, part=part) for part in range(WORLD))
    whole = train((case[0], case[1], "global"), steps=1)
    for process in processes:
        together = process["found"][str(case)]
        for half, one, two in zip(together, first, second, strict=True):
            assert_equal(half, (one + two) / 2, 1e-6)
    apart = [
        not torch.allclose(half, one, atol=1e-5, equal_nan=True)
        for half, one in zip(together, whole, strict=True)
    ]
    assert any(apart)  # another objective than that of the whole batch


@pytest.mark.slow
def test_evaluation_and_measurements_do_not_synchronise(processes: list[dict[str, Any]]) -> None:
    assert [process["together"].item() for process in processes] == [WORLD, WORLD]


@pytest.mark.slow
@pytest.mark.parametrize("router", ["token_choice", "loss_free"])
def test_a_run_on_two_processes_ends_with_the_weights_of_one(
    router: str, command: Command, tmp_path: Path
) -> None:
    """By Lightning, with measurements after training.

    They last as long as each process's clock says.
    """
    words = [
        "trainer.accelerator=cpu",
        "trainer.max_steps=4",
        "trainer.enable_progress_bar=false",
        "logger=none",
    ]
    words += [
        "optim.schedule=constant",
        "optim.warmup=0",
        "task.mixup=0",
    ]  # which mixes within a process's share
    words += [
        "optim.eps=1",
        "optim.lr=1",
    ]  # Adam would turn rounding of gradients near 0 into steps of full size
    ends = []
    for devices, more in ((1, ["measure=false"]), (2, ["trainer.strategy=ddp"])):
        more += [
            f"trainer.devices={devices}",
            f"data.batch_size={32 // devices}",
            f"records=runs{devices}",
        ]
        done = command("moesuite.run", *words, *more, f"router={router}")
        assert done.returncode == 0, done.stderr
        (path,) = (tmp_path / f"runs{devices}").rglob("last.ckpt")
        ends.append(torch.load(path, weights_only=False)["state_dict"])
    assert ends[0].keys() == ends[1].keys()
    for name, one in ends[0].items():
        assert_equal(ends[1][name].float(), one.float(), 1e-6)
    start = compose(*words, f"router={router}")
    fresh = build_models(start, build_task(start.task), None).model.state_dict()
    moved = [(ends[0][f"model.{name}"] - value).abs().max().item() for name, value in fresh.items()]
    assert max(moved) > 1e-3  # so that there was something to agree on


def test_scopes_by_hand() -> None:
    # two sequences of two tokens, E = 2, gates certain: the first chooses expert 0 always, the
    # second expert 1
    logits = torch.tensor([[[99.0, 0.0], [99.0, 0.0]], [[0.0, 99.0], [0.0, 99.0]]])
    experts = logits.argmax(dim=-1, keepdim=True)
    # the batch as a whole is uniform: 1; each sequence as uneven as can be: E = 2
    assert balance_loss(logits, experts, scope=Scope("global")).item() == pytest.approx(1.0)
    assert balance_loss(logits, experts, scope=Scope("local")).item() == pytest.approx(1.0)
    assert balance_loss(logits, experts, scope=Scope("sequence")).item() == pytest.approx(2.0)
    # CV² of summed gates (2, 2): 0; of (2, 0) and (0, 2): variance 1 over mean² 1
    gates = torch.ones(2, 2, 1)
    assert importance_loss(gates, experts, 2).item() == pytest.approx(0.0)
    assert importance_loss(gates, experts, 2, scope=Scope("sequence")).item() == pytest.approx(1.0)


VIT = {
    "img_size": 16,
    "patch_size": 4,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 5,
}
OLMOE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
}


def vit() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", **VIT)


def moefied(folder: Path) -> nn.Module:
    return moefy(vit(), "token_choice", 4, "all", balance_scope="sequence")


def upcycled(folder: Path) -> nn.Module:
    return upcycle(vit(), "token_choice", 4, "all", balance_scope="sequence")[0]


def saved(folder: Path) -> nn.Module:
    save_moe(moefied(folder), folder / "model.pt")
    return load_moe(folder / "model.pt", vit())


def of_a_run(folder: Path) -> nn.Module:
    config = compose("balance_scope=sequence", "router=token_choice")  # digits
    return build_models(config, build_task(config.task), torch.zeros(1, 1, 8, 8)).model


def rerouted(folder: Path) -> nn.Module:
    model = OlmoeForCausalLM(OlmoeConfig(num_experts=4, num_experts_per_tok=1, **OLMOE))
    return reroute(model, "token_choice", balance_scope="sequence")[0]


@pytest.mark.parametrize(
    ("build_model", "shape"),
    [
        (moefied, (3, 3, 16, 16)),
        (upcycled, (3, 3, 16, 16)),
        (saved, (3, 3, 16, 16)),
        (of_a_run, (3, 1, 8, 8)),
        (rerouted, (3, 9)),
    ],
)
def test_every_way_to_a_model_hands_the_scope_on(
    build_model: Any, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """The balance loss in training is the mean of each sequence's own score, in every layer."""
    torch.manual_seed(0)
    model, expected = build_model(tmp_path).train(), list[Tensor]()

    def alone_by_sequence(router: Any, args: Any) -> None:
        logits = router.gate(args[0]).detach()
        each = [balance_loss(one[None], one[None].argmax(dim=-1, keepdim=True)) for one in logits]
        expected.append(0.01 * torch.stack(each).mean())

    layers = [layer for _, layer in moe_layers(model)]
    for layer in layers:
        nn.init.normal_(layer.router.gate.weight)
        layer.router.register_forward_pre_hook(alone_by_sequence)
    model(torch.randn(shape) if len(shape) == 4 else torch.randint(50, shape))
    found = unread_losses([layers[0].context])["balance"]
    assert len(expected) == len(layers) > 0
    torch.testing.assert_close(found, torch.stack(expected).sum())


def test_a_sequence_counts_as_one_however_long() -> None:
    # logsumexp of (3, -99) is 3, of (1, -99) is 1; a sequence of 2 tokens with 9, one of 1 token
    # with 1, one of padding
    logits = torch.tensor([[[3.0, -99.0]] * 2, [[1.0, -99.0]] * 2, [[7.0, 7.0]] * 2])
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    assert z_loss(logits, mask).item() == pytest.approx((9 + 9 + 1) / 3)
    assert z_loss(logits, mask, Scope("sequence")).item() == pytest.approx((9 + 1) / 2)
    assert z_loss(logits, mask & False, Scope("sequence")).item() == 0


def test_another_scope_is_another_run() -> None:
    task = build_task(compose().task)
    words = ([], ["balance_scope=global"], ["balance_scope=local"], ["balance_scope=sequence"])
    default, *ids = (identity(compose(*word).resolved(), task).id for word in words)
    assert ids[0] == default and len(set(ids)) == 3


@pytest.mark.slow
def test_an_unknown_scope_is_one_clear_line(processes: list[dict[str, Any]]) -> None:
    told = processes[0]["told"]
    assert (
        told.startswith("unknown balance_scope 'glabal'; nearest: global")
        and "type for example balance_scope=global" in told
    )
    with pytest.raises(
        UserError, match=r"balance_scope='glabal': input should be 'global', 'local' or 'sequence'"
    ):
        compose("balance_scope=glabal")
