"""Inputs of models that the user gives no example of; features, and images of other sizes."""

from __future__ import annotations

import pytest
import timm
import torch
import transformers
from torch import nn

from moesuite import upcycle
from moesuite.models.example_inputs import is_text, random_example, takes_images
from moesuite.nn.moe import moe_layers

VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}
SWIN = {"embed_dim": 24, "depths": (1, 1), "num_heads": (1, 1), "img_size": 56}
CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
IMAGE = SMALL | {"image_size": 16, "patch_size": 4}


def hf(kind: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return transformers.AutoModel.from_config(
            transformers.AutoConfig.for_model(kind, **options)
        )


@pytest.mark.parametrize("router", ["soft", "token_choice"])
@pytest.mark.parametrize(
    ("name", "options", "tokens"),
    [
        ("vit_tiny_patch16_224", VIT, [5, 5]),  # 2x2 patches and the class token
        ("swin_tiny_patch4_window7_224", SWIN, [196, 49]),  # 14x14, merged to 7x7
        ("convnext_atto", CONVNEXT, [3136, 784]),  # 56x56 and 28x28
    ],
)
def test_backbones_of_features_are_upcycled(
    name: str, options: dict[str, object], tokens: list[int], router: str
) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, features_only=True, out_indices=[0, 1], **options)
    model, receipt = upcycle(model, router, 2, "all")
    assert len(receipt.layers) == len(list(moe_layers(model)))
    first, second, *_ = (layer.router.spec for _, layer in moe_layers(model))
    if router == "soft":  # as many slots as tokens: E·C = T, rounded down for each expert
        assert [first.tokens, second.tokens] == tokens
    features = model(random_example(model))
    assert len(features) == 2 and all(torch.isfinite(value).all() for value in features)


@pytest.mark.parametrize("router", ["soft", "token_choice", "expert_choice"])
def test_images_of_other_sizes(router: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True, **VIT)
    model, _ = upcycle(model, router, 2, "all")
    for height, width in ((32, 32), (64, 64), (32, 96)):
        assert model(torch.randn(2, 3, height, width)).isfinite().all()
        ((_, layer), *_) = moe_layers(model)
        tokens = height // 16 * (width // 16) + 1
        assert layer.routing is not None
        assert layer.routing.dense()[0].shape[1] == tokens


def test_kinds_of_inputs() -> None:
    beit = hf("beit", **IMAGE)  # it has a vocabulary, of visual tokens
    assert takes_images(beit) and not is_text(beit)
    assert {name: tuple(value.shape) for name, value in random_example(beit).items()} == {
        "pixel_values": (2, 3, 16, 16)
    }
    gpt2 = hf("gpt2", n_layer=1, n_embd=32, n_head=2, vocab_size=50)
    assert is_text(gpt2) and not takes_images(gpt2)
    assert random_example(gpt2).keys() == {"input_ids", "attention_mask"}
    t5 = hf("t5", d_model=32, d_ff=64, num_layers=1, num_heads=2, d_kv=16, vocab_size=50)
    assert random_example(t5).keys() == {
        "input_ids",
        "attention_mask",
        "decoder_input_ids",
        "decoder_attention_mask",
    }
    wav2vec2 = hf("wav2vec2", **SMALL)
    assert not is_text(wav2vec2)
    assert random_example(wav2vec2)["input_values"].shape == (2, 8000)
