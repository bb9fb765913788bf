"""Every model type of transformers with MoE layers, from a tiny random configuration."""

from __future__ import annotations

import importlib
from typing import Any

import torch
import transformers
from torch import nn

# by the meaning of an option; the first name that a configuration has is not the only one
SIZES: dict[str, int] = {
    name: size
    for size, names in {
        32: "hidden_size d_model moe_hidden_size",
        48: "intermediate_size ffn_hidden_size d_ff encoder_ffn_dim decoder_ffn_dim "
        "intermediate_size_mlp prefix_dense_intermediate_size",
        24: "moe_intermediate_size expert_ffn_hidden_size shared_expert_intermediate_size "
        "moe_shared_expert_intermediate_size shared_intermediate_size share_expert_dim "
        "shared_experts_intermediate_size moe_dense_intermediate_size",
        2: "num_hidden_layers n_layers encoder_layers decoder_layers num_layers num_decoder_layers "
        "num_experts_per_tok moe_topk top_k_experts moe_top_k num_experts_per_token",
        4: "num_attention_heads n_heads encoder_attention_heads decoder_attention_heads num_heads "
        "linear_num_heads num_linear_attention_heads linear_num_key_heads linear_num_value_heads "
        "num_key_value_heads num_global_key_value_heads index_n_heads",
        8: "head_dim d_kv v_head_dim qk_rope_head_dim qk_nope_head_dim global_head_dim "
        "linear_head_dim linear_key_head_dim linear_value_head_dim qk_head_dim index_topk "
        "num_experts num_local_experts n_routed_experts moe_num_experts "
        "hidden_size_per_layer_input",
        16: "q_lora_rank kv_lora_rank o_lora_rank index_head_dim mamba_d_state mamba_n_heads "
        "mamba_num_heads mamba_d_head mamba_head_dim ssm_state_size",
        50: "vocab_size unpadded_vocab_size vocab_size_per_layer_input",
        1: "n_group topk_group first_k_dense_replace mamba_expand expand",
        128: "max_position_embeddings",
    }.items()
    for name in names.split()
}
FULL = ["full_attention"] * 2
HYBRID = ["linear_attention", "full_attention"]
DENSE_FIRST = ["dense", "sparse"]
MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}

# class of the model, and options besides SIZES
TYPES: dict[str, tuple[str, dict[str, Any]]] = {
    "afmoe": ("AfmoeForCausalLM", {}),
    "aria": ("AriaTextForCausalLM", {}),
    "axk1": ("AXK1ForCausalLM", {}),
    "axk2": ("AXK2ForCausalLM", {}),
    "bailing_hybrid": ("BailingHybridForCausalLM", {"layer_types": HYBRID, "num_expert_group": 1}),
    "beam": ("BeamForCausalLM", {"mlp_layer_types": DENSE_FIRST, "layer_types": FULL}),
    "cohere2_moe": (
        "Cohere2MoeForCausalLM",
        {"num_shared_experts": 1, "shared_expert_combination_strategy": "average"},
    ),
    "deepseek_ocr2": ("DeepseekOcr2TextModel", {"mlp_layer_types": DENSE_FIRST}),
    "deepseek_v2": ("DeepseekV2ForCausalLM", {}),
    "deepseek_v3": ("DeepseekV3ForCausalLM", {}),
    "deepseek_v32": ("DeepseekV32ForCausalLM", {}),
    "deepseek_v4": ("DeepseekV4ForCausalLM", {"mlp_layer_types": ["hash_moe", "moe"]}),
    "diffusion_gemma": ("DiffusionGemmaEncoderTextModel", {}),
    "doge": ("DogeForCausalLM", {"is_moe": True, "num_experts": 16}),
    "dots1": ("Dots1ForCausalLM", {"n_shared_experts": 1}),
    "dots3_note": ("Dots3NoteForCausalLM", {"mlp_layer_types": DENSE_FIRST}),
    "ernie4_5_moe": ("Ernie4_5_MoeForCausalLM", {}),
    "exaone_moe": ("ExaoneMoeForCausalLM", {}),
    "flex_olmo": ("FlexOlmoForCausalLM", {}),
    "flint": ("FlintForCausalLM", {"mlp_only_layers": [], "layer_types": FULL}),
    "gemma4": ("Gemma4ForCausalLM", {"enable_moe_block": True}),
    "glm4_moe": ("Glm4MoeForCausalLM", {}),
    "glm4_moe_lite": ("Glm4MoeLiteForCausalLM", {}),
    "glm4v_moe": (
        "Glm4vMoeTextModel",
        {"head_dim": 16, "rope_parameters": MROPE | {"partial_rotary_factor": 0.5}},
    ),
    "glm_moe_dsa": ("GlmMoeDsaForCausalLM", {}),
    "gpt_oss": ("GptOssForCausalLM", {}),
    "granitemoe": ("GraniteMoeForCausalLM", {}),
    "granitemoe_swa": ("GraniteMoeSWAForCausalLM", {}),
    "granitemoehybrid": (
        "GraniteMoeHybridForCausalLM",
        {"mamba_n_heads": 4, "mamba_expand": 2, "layer_types": ["attention"] * 2},
    ),
    "granitemoeshared": ("GraniteMoeSharedForCausalLM", {}),
    "hunyuan_v1_moe": ("HunYuanMoEV1ForCausalLM", {}),
    "hy_v3": ("HYV3ForCausalLM", {}),
    "hy_v4": ("HYV4ForCausalLM", {}),
    "hy_v4_vl": ("HYV4VLTextModel", {"rope_parameters": MROPE}),
    "inkling": ("InklingForCausalLM", {}),
    "inkling2": ("Inkling2ForCausalLM", {}),
    "inkling2_loop": ("Inkling2LoopForCausalLM", {}),
    "jamba": (
        "JambaForCausalLM",
        {
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 1,
            "expert_layer_offset": 0,
            "use_mamba_kernels": False,
        },
    ),
    "jetmoe": ("JetMoeForCausalLM", {}),
    "kimi_linear": ("KimiLinearForCausalLM", {"layer_types": HYBRID}),
    "kolibri1": ("Kolibri1ForCausalLM", {}),
    "laguna": ("LagunaForCausalLM", {}),
    "lara_mini": ("LaraMiniForCausalLM", {}),
    "lfm2_moe": ("Lfm2MoeForCausalLM", {"layer_types": FULL, "num_dense_layers": 1}),
    "llama4": ("Llama4ForCausalLM", {}),
    "longcat_flash": ("LongcatFlashForCausalLM", {}),
    "mellum": ("MellumForCausalLM", {}),
    "mimo_v2_flash": ("MiMoV2FlashForCausalLM", {"num_key_value_heads": 2}),
    "minimax": ("MiniMaxForCausalLM", {}),
    "minimax_m2": ("MiniMaxM2ForCausalLM", {}),
    "minimax_m3_vl": ("MiniMaxM3VLForCausalLM", {}),
    "mistral4": ("Mistral4ForCausalLM", {"head_dim": 16}),
    "mistral_large4": ("MistralLarge4TextModel", {}),
    "mixtral": ("MixtralForCausalLM", {}),
    "muse_spark": ("MuseSparkTextModel", {}),
    "nemotron_h": ("NemotronHForCausalLM", {}),
    "nllb_moe": (
        "NllbMoeForConditionalGeneration",
        {"encoder_sparse_step": 2, "decoder_sparse_step": 2, "pad_token_id": 1},
    ),
    "olmoe": ("OlmoeForCausalLM", {}),
    "openai_privacy_filter": ("OpenAIPrivacyFilterModel", {}),
    "phimoe": ("PhimoeForCausalLM", {}),
    "qwen2_moe": ("Qwen2MoeForCausalLM", {}),
    "qwen3_5_moe": ("Qwen3_5MoeForCausalLM", {"layer_types": HYBRID}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", {}),
    "qwen3_next": ("Qwen3NextForCausalLM", {"layer_types": HYBRID}),
    "qwen3_omni_moe": ("Qwen3OmniMoeThinkerTextModel", {}),
    "qwen3_vl_moe": ("Qwen3VLMoeTextModel", {}),
    "solar_open": ("SolarOpenForCausalLM", {}),
    "step3p7": (
        "Step3p7TextModel",
        {
            "pad_token_id": 1,
            "mlp_layer_types": DENSE_FIRST,
            "layer_types": FULL,
            "sliding_window": 8,
        },
    ),
    "switch_transformers": (
        "SwitchTransformersForConditionalGeneration",
        {
            "num_sparse_encoder_layers": 2,
            "num_sparse_decoder_layers": 2,
            "decoder_start_token_id": 0,
            "pad_token_id": 0,
        },
    ),
    "unlimited_ocr": ("UnlimitedOcrTextModel", {"mlp_layer_types": DENSE_FIRST}),
    "zaya": ("ZayaForCausalLM", {"num_experts_per_tok": 1, "num_key_value_heads": 2}),
}


def config_class(kind: str) -> type[transformers.PretrainedConfig]:
    """Return the class of a type's configuration."""
    modeling = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
    cls: type[transformers.PretrainedConfig] = getattr(modeling, TYPES[kind][0]).config_class
    return cls


def build(kind: str, **more: Any) -> Any:
    """Return a tiny model in evaluation with sharp weights: other experts give another answer."""
    name, options = TYPES[kind]
    modeling = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
    cls = getattr(modeling, name)
    torch.manual_seed(0)
    model = cls(_tiny(cls.config_class, options | more)).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim >= 2 or key.endswith("bias"):
                nn.init.normal_(parameter, std=0.3)
        for key, buffer in model.named_buffers():
            if key.endswith(("correction_bias", "expert_bias")):
                buffer.normal_(std=0.3)
    return model


def _tiny(cls: type[transformers.PretrainedConfig], options: dict[str, Any]) -> Any:
    """Return a configuration with the known sizes made small, and the given options."""
    small: dict[str, Any] = {}
    for name, value in cls().to_dict().items():
        if name in SIZES and (value is None or type(value) is int):
            small[name] = SIZES[name]
        elif name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            small[name] = None
    return cls(**(small | options))
