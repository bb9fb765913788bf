"""Hugging Face models: from a configuration, pretrained, or as they were saved.

A task asks for a head by name; the classes of transformers that have it are in `HEADS`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from moesuite.errors import UserError, nearest

HEADS = {  # by the name that a task uses: the class in transformers, and a backbone that has it
    "causal": ("AutoModelForCausalLM", "gpt_mini"),
    "masked": ("AutoModelForMaskedLM", "bert_mini"),
    "span_corruption": ("AutoModelForSeq2SeqLM", "t5_mini"),
    "embedding": ("AutoModel", "bert_mini"),
    "classification": ("AutoModelForSequenceClassification", "bert_mini"),
    "text_to_text": ("AutoModelForSeq2SeqLM", "t5_mini"),
}
UNFIT = "Unrecognized configuration class"  # start of the error in transformers
# options that a task sets in a pretrained model's configuration too
TASK_OPTIONS = ("num_labels", "pad_token_id")


def build_huggingface(model: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    """Build a Hugging Face model with the head of an objective.

    Args:
        model: a model type, local folder or hub id.
        pretrained: load the weights.
        arguments: `head`, one of `HEADS`; the others are options of the configuration.

    Raises:
        UserError: for an unknown model type, a head that the model does not have, or sequences and
            vocabularies larger than a pretrained model's.
    """
    options = dict(arguments)
    head = options.pop("head")
    config = _config(model, pretrained, options)
    _refuse_moe_layers(model, config)
    _check_sizes(model, config, options)
    config.use_cache = False
    built = _with_head(model, pretrained, head, config)
    if head == "embedding" and getattr(built, "pooler", None) is not None:
        # it pools the first token, for BERT's sentence pairs, and would never be trained
        built.pooler = None
    # loaded models are in evaluation mode, and would be trained without dropout
    return built.train()


def load_saved(model: str) -> nn.Module:
    """Load a Hugging Face model with the class that its configuration names.

    Raises:
        UserError: for a model that was saved with MoE layers.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(model)
    _refuse_moe_layers(model, config)
    return _class_of(config).from_pretrained(model)


def huggingface_architecture(model: str) -> nn.Module:
    """Build a Hugging Face model with the class that its configuration names, with new weights.

    Raises:
        UserError: for an unknown name, or a model that was saved with MoE layers.
    """
    config = _config(model, False, {})
    _refuse_moe_layers(model, config)
    cls = _class_of(config)
    return cls.from_config(config) if hasattr(cls, "from_config") else cls._from_config(config)


def is_model_type(name: str) -> bool:
    """Return whether a name is that of an architecture in transformers, not of trained weights."""
    import transformers

    return name in transformers.CONFIG_MAPPING


def _class_of(config: Any) -> Any:
    """Return the class of transformers that a configuration names."""
    import transformers

    name = (config.architectures or ["AutoModel"])[0]
    return getattr(transformers, name, transformers.AutoModel)


def _with_head(model: str, pretrained: bool, head: str, config: Any) -> Any:
    """Build the model of a configuration with a head.

    Raises:
        UserError: if the model does not have this head.
    """
    import transformers

    cls: Any = getattr(transformers, HEADS[head][0])
    if head == "embedding" and config.is_encoder_decoder:
        cls = transformers.AutoModelForTextEncoding
    try:
        if config.is_encoder_decoder and head == "classification":
            # its head would need tokens of its own vocabulary
            raise ValueError(UNFIT)
        if pretrained:
            return cls.from_pretrained(model, config=config, dtype=torch.float32)
        return cls.from_config(config)
    except ValueError as error:
        if UNFIT not in str(error):
            raise
        allowed, example = HEADS[head]
        which = " with an encoder or a decoder only" if head == "classification" else ""
        raise UserError(
            f"backbone=hf:{model} cannot do task.objective={head}; expected models of "
            f"transformers' {allowed}{which}, e.g. backbone={example}"
        ) from None


def _config(model: str, pretrained: bool, options: dict[str, Any]) -> Any:
    """Return the configuration of a model type with `options`, or that of a pretrained model.

    Raises:
        UserError: for an unknown name.
    """
    import transformers

    if pretrained or model not in transformers.CONFIG_MAPPING:
        try:
            of_task = {key: options[key] for key in TASK_OPTIONS if key in options}
            return transformers.AutoConfig.from_pretrained(model, **of_task)
        except OSError:
            close = nearest(model, list(transformers.CONFIG_MAPPING), count=5)[:5]
            raise UserError(
                f"unknown backbone 'hf:{model}': no model type, folder with config.json, or hub "
                "id that can be reached; nearest types: "
                f"{', '.join('hf:' + name for name in close)}"
            ) from None
    # a task's vocabulary has no special tokens: BERT would never train the embedding of its
    # padding, number 0
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    return transformers.AutoConfig.for_model(model, **special | options)


def _refuse_moe_layers(model: str, config: Any) -> None:
    """Refuse what `moesuite.save_moe` wrote: the plain class would reinitialise its MoE layers."""
    if getattr(config, "moesuite", None) is not None:
        raise UserError(
            f"hf:{model}: this model was saved with MoE layers; expected dense models, and those "
            "that are mixtures of experts in transformers; in Python type moesuite.load_moe(folder)"
        )


def _check_sizes(model: str, config: Any, options: dict[str, Any]) -> None:
    """Refuse sequences and vocabularies that are larger than the model's."""
    for option, what, instead in (
        ("max_position_embeddings", "task.length", "task.length={}"),
        (
            "vocab_size",
            "the tokenizer's vocabulary",
            "backbone.tokenizer=<the folder or hub id of the model's own>",
        ),
    ):
        limit = getattr(config, option, None)
        if isinstance(limit, int) and options.get(option, 0) > limit:
            raise UserError(
                f"{what} of {options[option]} is more than the {limit} of backbone=hf:{model}; "
                f"expected at most {limit}, e.g. {instead.format(limit)}"
            )
