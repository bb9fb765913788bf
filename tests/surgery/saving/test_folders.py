"""Folders of Hugging Face models: transformers by itself refuses them in one line."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

from moesuite import UserError, load_moe, moefy, reroute, save_moe, upcycle
from moesuite.models.example_inputs import random_example
from moesuite.nn.moe import moe_layers
from tests.surgery.dense_models import build
from tests.surgery.saving.sentences import TEXTS, sentence_transformer

REFUSED = r"only moesuite\.load_moe\(folder\) loads this mixture of experts"


@pytest.mark.parametrize("cls", ["AutoModel", "AutoModelForMaskedLM", "BertForMaskedLM"])
def test_transformers_refuses_what_save_pretrained_wrote(cls: str, tmp_path: Path) -> None:
    model: Any = moefy(build("bert"), "token_choice", 4)
    for name, host in {"whole": model, "copy": copy.deepcopy(model), "part": model.bert}.items():
        host.save_pretrained(tmp_path / name, max_shard_size="20KB")
        with pytest.raises(OSError, match=REFUSED):
            getattr(transformers, cls).from_pretrained(tmp_path / name)
        assert len(list(moe_layers(load_moe(tmp_path / name)))) == 1


@pytest.mark.slow
def test_transformers_refuses_without_this_package(tmp_path: Path) -> None:
    save_moe(moefy(build("bert"), "token_choice", 4), tmp_path)
    code = f"from transformers import AutoModel as a; a.from_pretrained({str(tmp_path)!r})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1 and "only moesuite.load_moe(folder)" in run.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_pushed_folder_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: list[dict[str, Any]] = []

    def push(model: Any, **options: Any) -> None:
        model.save_pretrained(tmp_path / "sent", max_shard_size="20KB")
        uploaded.append(options)

    model: Any = moefy(build("bert"), "token_choice", 4)
    monkeypatch.setattr(type(model), "push_to_hub", push)
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, commit_message="m", token="t")
    assert uploaded == [{"repo_id": "mine", "token": "t", "commit_message": "m"}]
    for folder in ("mine", "sent"):
        values = json.loads((tmp_path / folder / "config.json").read_text(encoding="utf-8"))
        assert values["transformers_weights"].startswith("only moesuite.load_moe(folder)")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("path", ["folder", "model.pt"])
def test_statistics_of_routers_stay_in_float32(
    path: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """1 + 2^-10 is no number of bfloat16: a bias of 1 would not move by steps of 0.001."""
    model, _ = upcycle(build("llama").to(dtype), "loss_free", 4, layers="all")
    routers = [layer.router for _, layer in moe_layers(model.to(dtype))]
    for router in routers:
        router.bias.fill_(1 + 2**-10)
    save_moe(model, tmp_path / path)
    loaded: Any = load_moe(tmp_path / path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    for _, layer in moe_layers(loaded):
        assert {buffer.dtype for buffer in layer.router.buffers()} == {torch.float32}
        assert torch.equal(layer.router.bias, torch.full((4,), 1 + 2**-10))
    loaded.train()(**random_example(loaded))
    assert next(layer for _, layer in moe_layers(loaded)).router.excess.dtype == torch.float32
    assert {b.dtype for r in routers for b in r.half().to("meta").buffers()} == {torch.float32}


def test_sentence_transformers_come_back(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = sentence_transformer(tmp_path / "dense")
    upcycle(model[0].auto_model, "token_choice", 4, layers="all", expert_noise=0.1)
    expected = model.encode(TEXTS, prompt_name="query")
    save_moe(model, tmp_path / "first")
    loaded: Any = load_moe(tmp_path / "first")
    assert type(loaded) is type(model) and type(loaded[0]) is type(model[0])
    loaded.save_pretrained(str(tmp_path / "second"))  # as its trainer does
    for again in (loaded, load_moe(tmp_path / "second")):
        assert (again.encode(TEXTS, prompt_name="query") == expected).all()
    with pytest.raises(OSError, match=REFUSED):
        SentenceTransformer(str(tmp_path / "second"))


@pytest.mark.slow
def test_adapters_are_saved_beside_the_model(tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    base, _ = upcycle(build("bert"), "token_choice", 4, expert_noise=0.1)
    save_moe(base, tmp_path / "base")
    lora = LoraConfig(target_modules=["query"], init_lora_weights=False)
    model = get_peft_model(base, lora)
    inputs = random_example(model)
    expected = model.eval()(**inputs).logits
    with pytest.raises(
        UserError, match=r"PEFT, .* type save_moe\(model.merge_and_unload\(\), path"
    ):
        save_moe(model, tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    model.save_pretrained(tmp_path / "adapters")
    with pytest.raises(UserError, match="an adapter of PEFT, without the model; type peft.PeftMod"):
        load_moe(tmp_path / "adapters")
    loaded = PeftModel.from_pretrained(load_moe(tmp_path / "base"), tmp_path / "adapters")
    torch.testing.assert_close(loaded.eval()(**inputs).logits, expected)
    save_moe(model.merge_and_unload(), tmp_path / "merged")
    torch.testing.assert_close(load_moe(tmp_path / "merged")(**inputs).logits, expected)


@pytest.mark.slow
def test_folders_of_earlier_versions_load(tmp_path: Path) -> None:
    """They have no mark, no answer, and of a timm model only classes and image size."""
    model = moefy(build("bert"), "token_choice", 4)
    save_moe(model, tmp_path / "bert")
    config = tmp_path / "bert" / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    del values["transformers_weights"]
    config.write_text(json.dumps(values), encoding="utf-8")
    (tmp_path / "bert" / "moesuite_answer.safetensors").unlink()
    inputs = random_example(model)
    assert torch.equal(load_moe(tmp_path / "bert")(**inputs)[0], model.eval()(**inputs)[0])
    vit = moefy(timm.create_model("test_vit", num_classes=5), "token_choice", 4)
    save_moe(vit, tmp_path / "vit", check=False)
    beside = tmp_path / "vit" / "moesuite.json"
    about = json.loads(beside.read_text(encoding="utf-8"))
    old = {"timm": "test_vit", "arguments": {"num_classes": 5, "img_size": [160, 160]}}
    beside.write_text(json.dumps({**about, "dense": old}), encoding="utf-8")
    x = torch.randn(1, 3, 160, 160)
    assert torch.equal(load_moe(tmp_path / "vit")(x), vit.eval()(x))


@pytest.mark.slow
def test_an_answer_is_that_of_the_last_save(tmp_path: Path) -> None:
    """Weights that are saved over others, unchecked, are not compared with the answer of these."""
    for seed, check in ((0, True), (1, False)):
        model, _ = upcycle(build("bert"), "token_choice", 4)
        torch.manual_seed(seed)
        torch.nn.init.normal_(model.bert.embeddings.word_embeddings.weight)
        save_moe(model, tmp_path, check=check)
    assert load_moe(tmp_path) is not None
    save_moe(model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    save_file(
        {**weights, name: weights[name] * 2}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(UserError, match="another model came back: its answer"):
        load_moe(tmp_path)


def test_weights_that_transformers_renames_come_back(tmp_path: Path) -> None:
    """Of PhiMoE every .gate.weight, also ours, is read as .router.weight."""
    options = {"hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 50}
    config = transformers.PhimoeConfig(**options, **heads, num_local_experts=4)
    model: Any = transformers.PhimoeForCausalLM(config)
    reroute(model, "token_choice", k=2)
    model.save_pretrained(tmp_path / "model")
    loaded, expected = load_moe(tmp_path / "model").state_dict(), model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.items())
    weights = tmp_path / "model" / "model.safetensors"
    stored = load_file(weights)
    lost = stored.pop("model.layers.1.block_sparse_moe.router.gate.weight")
    save_file(stored | {"other.weight": lost}, weights, {"format": "pt"})
    with pytest.raises(UserError, match="weights that do not fit: model.layers.1.mlp.router.gate"):
        load_moe(tmp_path / "model")


@pytest.mark.slow
def test_models_that_transformers_does_not_read_back_are_read(tmp_path: Path) -> None:
    """It writes ShieldGemma2's language_model.layers as language_model.model.layers."""
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    image = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "image_size": 16}
    config = transformers.ShieldGemma2Config(
        text_config=text | heads | {"vocab_size": 300},
        vision_config=image | {"num_attention_heads": 2, "patch_size": 4},
        mm_tokens_per_image=4,
    )
    model: Any = transformers.ShieldGemma2ForImageClassification(config)
    moefy(model, "token_choice", 4, layers="all")
    model.save_pretrained(tmp_path)
    loaded, expected = load_moe(tmp_path).state_dict(), model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.items())
