"""One configuration of MoE layers: the same defaults, and the same layers, from every way in."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
import transformers
from torch import nn

from moesuite import UserError, compose, fit, moefy, reroute, upcycle
from moesuite.config.schema import RunConfig
from moesuite.discovery.names import router_names
from moesuite.nn.moe import MoE, moe_layers
from moesuite.routers import build_router, router_class
from moesuite.routing.router import LayerSpec
from moesuite.surgery.moe_config import MoEConfig
from moesuite.train.build import build_models, shared_task
from tests.helpers import TINY_RUN
from tests.surgery import moe_models
from tests.surgery.small_vit import small_vit
from tests.tasks.local_data import search_folder

SHARED = {
    "router",
    "num_experts",
    "layers",
    "slots_per_token",
    "eval_slots_per_token",
    "renormalise",
    "decoder",
    "balance_scope",
    "shared_experts",
    "gate",
    "null_experts",
    "dense_gradient",
}


def layers_of(model: nn.Module) -> list[tuple[str, MoE]]:
    return list(moe_layers(model))


def from_command_line(*words: str) -> nn.Module:
    config = compose(*words)
    return build_models(config, shared_task(config.task), torch.zeros(2, 1, 8, 8)).model


def test_every_way_in_has_the_defaults_of_the_configuration() -> None:
    """Command line, `moefy` and `upcycle`.

    `reroute` where it has the option, with a router of its own.
    """
    defaults = MoEConfig()
    assert {field.name for field in fields(MoEConfig)} == SHARED | {"options"}
    of_run = MoEConfig.of_run(compose("router=token_choice"))
    assert {name: getattr(of_run, name) for name in SHARED} == {
        name: getattr(defaults, name) for name in SHARED
    }
    for function in (moefy, upcycle, reroute):
        parameters = inspect.signature(function).parameters
        assert {"router", "slots_per_token", "eval_slots_per_token"} <= parameters.keys()
        skipped = {"router", "layers"} if function is reroute else set()
        for name in SHARED & parameters.keys() - skipped:
            assert parameters[name].default == getattr(defaults, name), (function, name)


def test_every_option_of_a_run_about_layers_reaches_the_configuration() -> None:
    run: RunConfig = compose(
        "router=usmoe",
        "router.alpha=0.25",
        "num_experts=4",
        "layers=[-1]",
        "slots_per_token=2",
        "eval_slots_per_token=3",
        "renormalise=true",
        "balance_scope=local",
        "shared_experts=2",
        "gate=mlp",
        "null_experts={zero:1,copy:2}",
        "dense_gradient=true",
        "+decoder={name:switch}",
    )
    config = MoEConfig.of_run(run)
    assert config.options["alpha"] == 0.25
    assert {name: getattr(config, name) for name in SHARED} == {
        "router": "usmoe",
        "num_experts": 4,
        "layers": [-1],
        "slots_per_token": 2.0,
        "eval_slots_per_token": 3.0,
        "renormalise": True,
        "decoder": {"name": "switch"},
        "balance_scope": "local",
        "shared_experts": 2,
        "gate": "mlp",
        "null_experts": {"zero": 1, "copy": 2},
        "dense_gradient": True,
    }


WAYS: dict[str, Callable[[], nn.Module]] = {
    "moefy": lambda: moefy(small_vit()),
    "moefy of 1": lambda: moefy(small_vit(), slots_per_token=1.0),
    "upcycle": lambda: upcycle(small_vit(), renormalise=False)[0],
    "command line": lambda: from_command_line("router=token_choice"),
    "command line of 1": lambda: from_command_line("router=token_choice", "slots_per_token=1"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_gives_the_same_layers(way: str) -> None:
    """Token choice among 8 experts in the last half, with the work of the MLP: 1 slot a token."""
    layers: list[Any] = [layer for _, layer in layers_of(WAYS[way]())]
    assert layers
    for layer in layers:
        spec = layer.router.spec
        assert layer.router.name == "token_choice" and layer.router.k == 1
        assert (spec.num_experts, spec.slots_per_token, spec.eval_slots_per_token) == (8, 1.0, None)
        assert spec.balance_scope == "global" and not layer.renormalise
        assert layer.router.train().capacity(16) == 2  # 16 tokens over 8 experts


def test_upcycling_from_the_command_line_and_from_python_give_the_same_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, dense = fit(compose("router=dense", *TINY_RUN))
    checkpoint = f"{dense.with_suffix('')}/last.ckpt"
    words = (f"upcycle={checkpoint}", "upcycle_state=weights", *TINY_RUN)
    ours, theirs = from_command_line(*words), upcycle(checkpoint)[0]
    pairs: list[Any] = list(zip(layers_of(ours), layers_of(theirs), strict=True))
    assert pairs
    for (name, mine), (other, yours) in pairs:
        assert name == other and mine.router.spec == yours.router.spec
        assert mine.renormalise and yours.renormalise
        assert torch.equal(mine.experts.up.weight, yours.experts.up.weight)


def test_rerouting_keeps_the_models_experts_per_token_by_every_way_in(tmp_path: Path) -> None:
    """The small models have 2; a budget that is given is taken."""
    kind, options = moe_models.MODELS["qwen3_moe"]
    wide = transformers.AutoConfig.for_model(kind, **options | {"vocab_size": 400})
    transformers.AutoModelForCausalLM.from_config(wide).save_pretrained(tmp_path / "model")
    words = (
        f"task.source={search_folder(tmp_path / 'data')}",
        f"upcycle=hf:{tmp_path / 'model'}",
        "task=stdlib_search",
        "backbone.tokenizer=byte",
        "task.length=64",
        "router=usmoe",
    )

    def budgets(model: nn.Module) -> set[float]:
        return {layer.router.spec.slots_per_token for _, layer in layers_of(model)}

    assert budgets(from_command_line(*words)) == {2.0}
    assert budgets(from_command_line(*words, "slots_per_token=1")) == {1.0}
    assert budgets(reroute(moe_models.build("olmoe"))[0]) == {2.0}
    assert budgets(reroute(moe_models.build("olmoe"), slots_per_token=1.0)[0]) == {1.0}


def test_a_layer_gets_what_the_configuration_says() -> None:
    config = MoEConfig("soft", 4, "all", 0.5, 1.5, balance_scope="local")
    assert config.layer_spec(6, tokens=9) == LayerSpec(6, 4, 0.5, 1.5, 9, "local")
    assert MoEConfig().layer_spec(6, num_experts=3, default_slots=2.0) == LayerSpec(6, 3, 2.0)
    assert MoEConfig().layer_spec(6) == LayerSpec(6, 8)


@pytest.mark.parametrize("name", router_names())
def test_routers_say_whether_they_fit_a_trained_gate(name: str) -> None:
    """What a router claims is what it has: a linear gate, or no weight at all."""
    cls = router_class(name)
    router: Any = build_router(name, LayerSpec(6, 4, tokens=8), {})
    gate = getattr(getattr(router, "gate", None), "weight", None)
    others = [parameter for parameter in router.parameters() if parameter is not gate]
    assert cls.fits_trained_gate is (not others and name != "dense")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_experts": "four"}, "num_experts='four': input should be a valid integer"),
        ({"slots_per_token": "much"}, "slots_per_token='much': input should be a valid number"),
        ({"layers": 3}, "layers=3: expected text or list of integers or text"),
        ({"decoder": "hash"}, "decoder='hash': input should be a valid dictionary"),
        ({"shared_experts": None}, "shared_experts=None: input should be a valid integer"),
        ({"null_experts": True}, "null_experts=true: expected a number of zero experts"),
        ({"gate": 1}, "gate=1: input should be 'linear', 'mlp', 'cosine' or 'attention'"),
        ({"balance_scope": None}, "balance_scope=None: input should be 'global', 'local' or"),
    ],
)
def test_an_argument_of_the_wrong_type_is_one_clear_line(
    options: dict[str, Any], told: str
) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # beartype would be first
    model = small_vit()
    before = [name for name, _ in model.named_modules()]
    for function in (moefy, upcycle):
        with pytest.raises(UserError, match=f"^{re.escape(told)}"):
            function(model, **options)
    assert [name for name, _ in model.named_modules()] == before
