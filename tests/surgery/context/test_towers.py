"""Models of images, and of images and texts: each layer is told of its own tokens."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import transformers
from torch import Tensor

from moesuite.nn.moe import moe_layers
from tests.surgery.context.families import REAL, SPECIAL, TEXT, TINY, TOKENS, Batch, hf, moe

pytestmark = pytest.mark.slow
IMAGE = {"image_size": 12, "patch_size": 4}
LENGTHS = [REAL, TOKENS, TOKENS]
TEXT_TOWER = TEXT | SPECIAL | {"max_position_embeddings": 16, "eos_token_id": 1}


def pixels() -> Tensor:
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(2))


def real_tokens(model: Any) -> dict[str, list[int] | None]:
    """Return the number of real tokens of each row by layer; None if no mask was in force."""
    return {
        name: None if layer.mask is None else layer.mask.sum(dim=1).tolist()
        for name, layer in moe_layers(model)
    }


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("positional", [False, True])
def test_the_mask_of_a_text_is_not_that_of_the_image(kind: str, positional: bool) -> None:
    """Texts and images have nearly as many tokens: only who was told of them can tell."""
    towers = {"text_config": TEXT_TOWER, "vision_config": TINY | IMAGE}
    model, batch = moe(lambda: hf(kind, "AutoModel", **towers)), Batch()
    inputs = {"input_ids": batch.ids, "pixel_values": pixels(), "attention_mask": batch.mask}
    with torch.no_grad():
        model(*inputs.values()) if positional else model(**inputs)
    counts = real_tokens(model)
    assert {tuple(v) for k, v in counts.items() if v and "text_model" in k} == {tuple(LENGTHS)}
    assert all(value is None for key, value in counts.items() if "vision_model" in key)
    with torch.no_grad():
        features = model.vision_model(pixels()).last_hidden_state
        one = model.vision_model(pixel_values=pixels()[:1]).last_hidden_state
        texts = model.text_model(batch.ids, batch.mask).last_hidden_state[0, :REAL]
        text = model.text_model(batch.ids[:1, :REAL], batch.mask[:1, :REAL]).last_hidden_state[0]
    torch.testing.assert_close(features[:1], one, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(texts, text, rtol=1e-4, atol=1e-5)


def test_a_model_of_text_and_image_together_masks_the_text_alone() -> None:
    model, batch = moe(lambda: hf("vilt", "AutoModel", **TEXT_TOWER, **IMAGE)), Batch()
    with torch.no_grad():
        model(input_ids=batch.ids, attention_mask=batch.mask, pixel_values=pixels())
    patches = 10  # 3 x 3, and the class token
    assert list(real_tokens(model).values()) == [[length + patches for length in LENGTHS]] * 2


@pytest.mark.parametrize("call", ["model", "forward_features"])
def test_images_of_any_size_are_those_alone(call: str) -> None:
    model = moe(
        lambda: timm.create_model(
            "naflexvit_base_patch16_gap", embed_dim=32, depth=2, num_heads=2, num_classes=5
        )
    )
    patches = torch.randn(3, TOKENS, 768, generator=torch.Generator().manual_seed(2))
    valid = Batch().mask.bool()
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(3)) * valid[..., None]
    run = model if call == "model" else model.forward_features
    with torch.no_grad():
        padded = run(patches, grid, valid)
        alone = run(patches[:1, :REAL], grid[:1, :REAL], valid[:1, :REAL])
    if call == "forward_features":
        padded, alone = padded["patches"][:, : alone["patches"].shape[1]], alone["patches"]
    torch.testing.assert_close(padded[:1], alone, rtol=1e-4, atol=1e-5)


def test_vit_of_hugging_face() -> None:
    model = moe(lambda: hf("vit", "AutoModel", **TINY, **IMAGE))
    with torch.no_grad():
        together, one = (model(x).last_hidden_state for x in (pixels(), pixels()[:1]))
    torch.testing.assert_close(together[:1], one, rtol=1e-4, atol=1e-5)
    assert set(real_tokens(model).values()) == {None}


def test_frames_of_sound_are_masked_by_the_mask_of_samples() -> None:
    config = transformers.Wav2Vec2Config(
        conv_dim=(8, 8),
        conv_stride=(4, 2),
        conv_kernel=(4, 2),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        **TINY,
    )
    model = moe(lambda: transformers.Wav2Vec2Model(config))
    mask = torch.ones(2, 160, dtype=torch.long)
    mask[0, 80:] = 0
    with torch.no_grad():
        model(torch.randn(2, 160), mask)
    assert list(real_tokens(model).values()) == [[10, 20]] * 2
