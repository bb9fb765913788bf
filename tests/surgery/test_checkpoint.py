"""Saving: every model is restored exactly, by stable names.

What does not fit is one clear line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moesuite import UserError, compose, fit, load_moe, moefy, reroute, save_moe, upcycle
from moesuite.models.example_inputs import random_example
from moesuite.nn.moe import moe_layers
from tests.helpers import SHORT, long_except
from tests.surgery.dense_models import FeedForward, build, take_apart
from tests.surgery.moe_models import MODELS as MOE_MODELS
from tests.surgery.moe_models import build as build_moe
from tests.tasks.local_data import BYTES, TINY_BERT, search_folder

MODELS = [
    "vit",
    "deit",
    "swin",
    "convnext",
    "eva02 with norm",
    "bert",
    "roberta",
    "t5",
    "gated t5",
    "t5 encoder",
]
MODELS += ["gpt2", "llama", "qwen2", "mistral", "hf vit"]


def answer(model: Any) -> Tensor:
    example = random_example(model)
    with torch.no_grad():
        output = model.eval()(**example) if isinstance(example, dict) else model.eval()(example)
    return output if isinstance(output, Tensor) else output[0]


def moe(name: str, router: str = "token_choice", **options: Any) -> nn.Module:
    model, _ = upcycle(build(name), router, 4, layers="all", expert_noise=0.1, **options)
    return model


@pytest.mark.parametrize("path", ["folder", "model.pt"])
@pytest.mark.parametrize("name", long_except(MODELS, "vit", "swin", "bert", "t5"))
def test_every_family_comes_back(name: str, path: str, tmp_path: Path) -> None:
    model = moe(name, k=2)
    save_moe(model, tmp_path / path)
    loaded = load_moe(tmp_path / path)
    assert type(loaded) is type(model) and loaded.state_dict().keys() == model.state_dict().keys()
    torch.testing.assert_close(answer(loaded), answer(model), atol=0, rtol=0)


@pytest.mark.parametrize("path", ["folder", "model.pt"])
@pytest.mark.parametrize("name", long_except(MOE_MODELS, "mixtral"))
def test_every_rerouted_model_comes_back(name: str, path: str, tmp_path: Path) -> None:
    for router in ("usmoe", "own"):
        model, _ = reroute(build_moe(name), router)
        save_moe(model, tmp_path / router / path)
        loaded = load_moe(tmp_path / router / path)
        torch.testing.assert_close(answer(loaded), answer(model), atol=0, rtol=0)


def test_save_pretrained_keeps_the_layers(tmp_path: Path) -> None:
    """In shards, by `save_pretrained`; config.json says what MoE layers there are."""
    model: Any = moe("bert", "usmoe", alpha=0.25)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    about = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["moesuite"]
    assert about["format"] == 1 and {layer["router"] for layer in about["layers"].values()} == {
        "usmoe"
    }
    loaded = load_moe(tmp_path)
    assert all(layer.router.alpha == 0.25 for _, layer in moe_layers(loaded))
    torch.testing.assert_close(answer(loaded), answer(model), atol=0, rtol=0)


@pytest.mark.parametrize(
    "router", ["soft", "loss_free", "cosine", "noisy_topk", "expert_choice_causal", "hash"]
)
def test_routers_are_restored_with_their_state(router: str, tmp_path: Path) -> None:
    """Sizes that depend on the number of tokens, buffers, options; trained for two steps."""
    model = moefy(
        build("vit"), router, 4, layers="all", slots_per_token=0.5, eval_slots_per_token=1.5
    )
    for _ in range(2):
        model.train()(torch.randn(2, 3, 16, 16))
        next(layer for _, layer in moe_layers(model)).context.losses.clear()
    save_moe(model, tmp_path)
    loaded = load_moe(tmp_path, build("vit"))
    for (_, ours), (_, theirs) in zip(moe_layers(loaded), moe_layers(model), strict=True):
        assert (
            ours.router.spec == theirs.router.spec and ours.router.options == theirs.router.options
        )
    torch.testing.assert_close(answer(loaded), answer(model), atol=0, rtol=0)


def test_names_of_weights_are_stable() -> None:
    """Saved models depend on them: `moesuite.surgery.checkpoint_format`."""
    own = {
        name.removeprefix("blocks.1.mlp.")
        for name in moe("vit").state_dict()
        if name.startswith("blocks.1.mlp.")
    }
    plain = {"experts.up.weight", "experts.up.bias", "experts.down.weight", "experts.down.bias"}
    assert own == plain | {"router.gate.weight"}
    shapes = {
        name: tuple(value.shape)
        for name, value in moe("llama").state_dict().items()
        if "layers.1.mlp" in name
    }
    assert shapes == {
        "model.layers.1.mlp.experts.up.weight": (4, 32, 64),
        "model.layers.1.mlp.experts.gate.weight": (4, 32, 64),
        "model.layers.1.mlp.experts.down.weight": (4, 64, 32),
        "model.layers.1.mlp.router.gate.weight": (4, 32),
    }
    model, _ = reroute(build_moe("qwen2_moe"))
    assert {
        name.partition(".mlp.")[2] for name in model.state_dict() if "layers.1.mlp" in name
    } == {
        "experts.gate_up_proj",
        "experts.down_proj",
        "router.gate.weight",
        "shared.mlp.gate_proj.weight",
        "shared.mlp.up_proj.weight",
        "shared.mlp.down_proj.weight",
        "shared.gate.weight",
    }


def test_models_of_mixed_routers(tmp_path: Path) -> None:
    """Expert choice in the encoder, top-2 in the decoder, as in the upcycling paper."""
    model, _ = upcycle(
        build("t5"), "expert_choice", 4, layers="all", decoder={"name": "token_choice", "k": 2}
    )
    routers = [layer.router.name for _, layer in moe_layers(model)]
    assert routers == ["expert_choice"] * 2 + ["token_choice"] * 2
    save_moe(model, tmp_path)
    torch.testing.assert_close(answer(load_moe(tmp_path)), answer(model), atol=0, rtol=0)


def test_a_decoder_may_stay_dense() -> None:
    model, _ = upcycle(build("t5"), "switch", 4, layers="all", decoder={"name": "dense"})
    assert [layer.in_decoder for _, layer in moe_layers(model)] == [False, False]


def test_precision_is_kept(tmp_path: Path) -> None:
    model = moe("vit").bfloat16()
    save_moe(model, tmp_path / "model.pt")
    loaded = load_moe(tmp_path / "model.pt", build("vit"))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}


def test_a_saved_folder_is_no_dense_backbone(tmp_path: Path) -> None:
    save_moe(moe("bert"), tmp_path)
    with pytest.raises(UserError, match="this model was saved with MoE layers; .*load_moe"):
        upcycle(f"hf:{tmp_path}")
    loaded = load_moe(tmp_path, model=build("bert"))  # of a class that need not be in transformers
    assert len(list(moe_layers(loaded))) == 2


def test_a_model_with_an_adapter(tmp_path: Path) -> None:
    model = nn.Sequential(FeedForward(), FeedForward())
    upcycle(model, "switch", 4, layers="all", example=torch.randn(3, 5, 6), adapter=take_apart)
    save_moe(model, tmp_path)
    with pytest.raises(
        UserError, match=r"how to build the dense model is not known; type load_moe\(path, model="
    ):
        load_moe(tmp_path)
    loaded = load_moe(tmp_path, nn.Sequential(FeedForward(), FeedForward()), take_apart)
    x = torch.randn(3, 5, 6)
    torch.testing.assert_close(loaded(x), model.eval()(x), atol=0, rtol=0)


def test_the_checkpoint_of_a_run(tmp_path: Path) -> None:
    _, path = fit(compose("router=token_choice", *SHORT, f"records={tmp_path}"))
    checkpoint = path.with_suffix("") / "last.ckpt"
    loaded = load_moe(checkpoint)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert len(list(moe_layers(loaded))) == 1 and not loaded.training
    assert all(
        torch.equal(state[f"model.{name}"], value) for name, value in loaded.state_dict().items()
    )


def test_the_checkpoint_of_a_run_that_embeds_text(tmp_path: Path) -> None:
    words = [
        f"task.source={search_folder(tmp_path / 'data')}",
        *TINY_BERT,
        *BYTES,
        "measure=false",
        "trainer.max_steps=1",
    ]
    _, path = fit(compose("task=stdlib_search", *words, "router=usmoe", f"records={tmp_path}"))
    loaded: Any = load_moe(path.with_suffix("") / "last.ckpt")
    assert loaded.pooler is None and len(list(moe_layers(loaded))) == 1


def test_checkpoints_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder; expected what save_moe"):
        load_moe(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no \.safetensors in this folder"):
        load_moe(tmp_path)
    (tmp_path / "text.pt").write_text("not weights", encoding="utf-8")
    with pytest.raises(UserError, match="not readable"):
        load_moe(tmp_path / "text.pt")
    torch.save({"state_dict": {"model.head.weight": torch.zeros(2)}}, tmp_path / "old.ckpt")
    with pytest.raises(
        UserError,
        match=r"without a description of MoE layers, from before form 1 or not of moesuite",
    ):
        load_moe(tmp_path / "old.ckpt")
    build("bert").save_pretrained(tmp_path / "dense")
    with pytest.raises(UserError, match="without a description of MoE layers"):
        load_moe(tmp_path / "dense")
    torch.save({"moesuite": {"format": 2, "layers": {}}, "state_dict": {}}, tmp_path / "new.pt")
    with pytest.raises(UserError, match="of form 2, from before form 1"):
        load_moe(tmp_path / "new.pt")


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    save_moe(moe("vit"), tmp_path / "folder")
    with pytest.raises(
        UserError, match=r"weights that do not fit: cls_token: .*; .*; .*; .*; .* and \d+ more"
    ):
        load_moe(tmp_path / "folder", arguments={"embed_dim": 64})
    model = moe("bert")
    save_moe(model, tmp_path / "model.pt")
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    del saved["state_dict"]["bert.encoder.layer.0.intermediate.router.gate.weight"]
    torch.save(saved, tmp_path / "model.pt")
    with pytest.raises(
        UserError, match=r"layer.0.intermediate.router.gate.weight: missing, here \(4, 32\)"
    ):
        load_moe(tmp_path / "model.pt")
