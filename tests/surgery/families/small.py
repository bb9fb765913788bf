"""Small Hugging Face models of families whose MLPs are spread over their layers, with dropout."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "vocab_size": 50,
    "pad_token_id": 1,
    "decoder_start_token_id": 2,
    "max_position_embeddings": 64,
    "activation_dropout": 0.2,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
}
DECODER = {
    "d_model": 32,
    "ffn_dim": 64,
    "num_layers": 2,
    "attention_heads": 2,
    "vocab_size": 50,
    "activation_dropout": 0.2,
}
OPT = {
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "ffn_dim": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 64,
}
AUDIO = SMALL | {
    "conv_dim": [8, 8],
    "conv_stride": [2, 2],
    "conv_kernel": [3, 3],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
}
DISTILBERT = {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "vocab_size": 50}
SWIN = {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 1], "image_size": 32}
MOBILEBERT = {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16}
WHISPER = {"num_mel_bins": 8, "max_source_positions": 32, "max_target_positions": 32}
IMAGE = {"image_size": 16, "patch_size": 8}
CONVNEXT = {"hidden_sizes": [8] * 4, "depths": [1] * 4, "layer_scale_init_value": 1.0}

# model type: options of its configuration, and the number of its MLPs
FAMILIES: dict[str, tuple[dict[str, Any], int]] = {
    "bart": (BART, 4),
    "opt": (OPT, 2),
    "albert": (SMALL | {"embedding_size": 16}, 1),  # two layers share their weights
    "esm": (SMALL | {"pad_token_id": 1, "mask_token_id": 2}, 2),
    "distilbert": (DISTILBERT, 2),
    "convnext": (CONVNEXT, 4),
    "whisper": (BART | WHISPER, 4),
    "wav2vec2": (AUDIO, 2),
    "mbart": (BART, 4),
    "marian": (BART, 4),
    "pegasus": (BART, 4),
    "blenderbot": (BART, 4),
    "m2m_100": (BART, 4),
    "plbart": (BART, 4),
    "led": (BART | {"attention_window": 4}, 4),
    "bigbird_pegasus": (BART | {"attention_type": "original_full"}, 4),
    "pegasus_x": (BART, 2),  # the encoder's MLP runs on its global tokens, too
    "speech_to_text": (BART | {"input_feat_per_channel": 8}, 4),
    "xglm": (DECODER, 2),
    "biogpt": (SMALL | {"activation_dropout": 0.2}, 2),
    "ctrl": ({"n_embd": 32, "dff": 64, "n_layer": 2, "n_head": 2, "vocab_size": 50}, 2),
    "hubert": (AUDIO, 2),
    "wavlm": (AUDIO, 2),
    "electra": (SMALL | {"embedding_size": 16}, 2),
    "mobilebert": (SMALL | MOBILEBERT, 8),
    "swinv2": (SWIN, 2),
    "data2vec-vision": (SMALL | IMAGE, 2),
    "dinov2": (SMALL | IMAGE, 2),
    "clip_vision_model": (SMALL | IMAGE, 2),
}
DRY = ("convnext", "albert", "mobilebert", "dinov2", "clip_vision_model")  # without dropout
FEW = ("bart",)  # the others run when slow


def build(kind: str) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **FAMILIES[kind][0])
    return transformers.AutoModel.from_config(config).eval()


def example(model: Any) -> dict[str, Tensor]:
    """Return an input without padding."""
    random = torch.Generator().manual_seed(0)
    config, name = model.config, model.main_input_name
    ids = torch.randint(3, 50, (2, 8), generator=random)
    shape = {
        "pixel_values": (
            2,
            3,
            getattr(config, "image_size", 32),
            getattr(config, "image_size", 32),
        ),
        "input_features": (2, 8, 64) if config.model_type == "whisper" else (2, 64, 8),
        "input_values": (2, 400),
    }.get(name)
    inputs = {name: ids if shape is None else torch.randn(shape, generator=random)}
    return inputs | ({"decoder_input_ids": ids} if config.is_encoder_decoder else {})


def answer(model: Any) -> Tensor:
    """Return what a model answers to the example, in the mode that it is in."""
    torch.manual_seed(0)
    return model(**example(model))[0]
