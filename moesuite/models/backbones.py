"""Backbones by name, with any keyword argument of theirs: `timm:<name>`, `hf:<name>`, `mlp:<activation>`.

None is written by hand but the perceptron of Tesauro's paper.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from moesuite.errors import UserError, nearest
from moesuite.models.depth_tiling import tile_depth
from moesuite.models.perceptron import build_perceptron

HEADS = {  # of what a task asks for: the class in transformers, and a backbone that has it
    "causal": ("AutoModelForCausalLM", "gpt_mini"),
    "masked": ("AutoModelForMaskedLM", "bert_mini"),
    "span_corruption": ("AutoModelForSeq2SeqLM", "t5_mini"),
    "embedding": ("AutoModel", "bert_mini"),
    "classification": ("AutoModelForSequenceClassification", "bert_mini"),
    "text_to_text": ("AutoModelForSeq2SeqLM", "t5_mini"),
}
UNFIT = "Unrecognized configuration class"  # what transformers says
OF_ANY = (
    "num_labels",
    "pad_token_id",
)  # what a task sets of a pretrained model's configuration too


def build_backbone(
    name: str, pretrained: bool, seed: int, fit: dict[str, Any], kwargs: dict[str, Any]
) -> nn.Module:
    """Build a backbone.

    Args:
        name: `timm:<model name>`; or `hf:<model type, local folder or hub id>`: from a
            configuration, or pretrained.
        pretrained: load the weights.
        seed: of its initialisation, apart from every other seed, >= 0.
        fit: what the task asks for. Of timm: num_classes, in_chans, img_size (left out where the
            model takes any size). Of Hugging Face: head, one of `HEADS`; vocab_size;
            max_position_embeddings; num_labels; pad_token_id.
        kwargs: of the model's constructor (timm) or configuration (Hugging Face); they win over
            `fit`.

    Raises:
        UserError: for an unknown name (lists the nearest) or arguments that the model refuses.
    """
    library, _, model = name.partition(":")
    builders = {"timm": _timm, "hf": _hf, "mlp": build_perceptron}
    if library not in builders:
        raise UserError(
            f"backbone={name}: unknown library {library!r}; allowed: timm:<name>, hf:<name>, mlp:<activation>; type "
            "for example backbone=vit_s16"
        )
    if ("head" in fit) == (library == "timm"):
        wanted = "hf:<name>; type for example backbone=gpt_mini" if "head" in fit else "timm:<name>"
        raise UserError(f"backbone={name} does not fit this task; allowed: {wanted}")
    arguments = {**fit, **kwargs}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return builders[library](model, pretrained, arguments)
    except UserError:
        raise
    except (TypeError, AssertionError, ValueError) as error:
        given = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise UserError(
            f"backbone={name} refuses its arguments ({given}): {str(error).splitlines()[0]}"
        ) from None
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise UserError(
            f"backbone={name}: pretrained weights cannot be loaded ({str(error).splitlines()[0]}); run once where "
            "there is a network and copy the cache of HF_HOME, or type backbone.pretrained=false"
        ) from None


def load_pretrained(name: str) -> nn.Module:
    """Load a trained model as it is, with the head that it was saved with, in evaluation.

    Args:
        name: `timm:<pretrained name>`, or `hf:<local folder or hub id>`.

    Raises:
        UserError: for an unknown name, or weights that cannot be loaded.
    """
    library, _, model = name.partition(":")
    try:
        if library == "timm":
            return _timm(model, True, {}).eval()
        if library == "hf":
            return _as_saved(model).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{name}: pretrained weights cannot be loaded ({str(error).splitlines()[0]}); allowed: a local folder, or "
            "a name whose weights are in the cache or can be reached; run once where there is a network and copy the "
            "cache of HF_HOME"
        ) from None
    raise UserError(
        f"{name}: unknown library {library!r}; allowed: timm:<name>, hf:<folder or hub id>; type for example "
        "timm:vit_base_patch16_224"
    )


def recipe_of(model: Any) -> dict[str, Any] | None:
    """Return what builds a dense model of this architecture, without weights; None where that is not known.

    For a model of timm that was not built here: its name, classes and image size, but no other
    argument.
    """
    config: Any = getattr(model, "config", None)
    if hasattr(config, "to_json_string"):
        return {
            "hf": type(model).__name__,
            "config": json.loads(config.to_json_string(use_diff=False)),
        }
    if (made := getattr(model, "built_from", None)) is not None:
        return made
    name = (getattr(model, "pretrained_cfg", None) or {}).get("architecture")
    if name is None:
        return None
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    return {
        "timm": name,
        "arguments": {"num_classes": model.num_classes}
        | ({"img_size": list(size)} if size else {}),
    }


def from_recipe(recipe: dict[str, Any]) -> nn.Module:
    """Build what `recipe_of` describes, with random weights."""
    if "timm" in recipe:
        return tile_depth(
            _timm(recipe["timm"], False, recipe["arguments"]), recipe.get("tile_depth", 1)
        )
    if "mlp" in recipe:
        return build_perceptron(recipe["mlp"], False, recipe["arguments"])
    import transformers

    values = dict(recipe["config"])
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    return getattr(transformers, recipe["hf"])._from_config(config)


def _as_saved(model: str) -> nn.Module:
    """Load a model of Hugging Face by the class that its configuration names."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(model)
    _refuse_layers(model, config)
    saved: Any = getattr(
        transformers, (config.architectures or ["AutoModel"])[0], transformers.AutoModel
    )
    return saved.from_pretrained(model)


def _timm(model: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    """Build a model of timm, without `img_size` where it takes images of any size and no such argument."""
    import timm

    if not timm.is_model(model.split(".")[0]):
        close = nearest(model, timm.list_models(), count=5)[:5]
        raise UserError(
            f"unknown backbone 'timm:{model}'; nearest: {', '.join('timm:' + name for name in close)}"
        )
    try:
        built: Any = timm.create_model(model, pretrained=pretrained, **arguments)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        arguments = {key: value for key, value in arguments.items() if key != "img_size"}
        built = timm.create_model(model, pretrained=pretrained, **arguments)
    built.built_from = {"timm": model, "arguments": arguments}
    return built


def _hf(model: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    """Build a model of Hugging Face with the head of the objective, from a configuration or pretrained.

    Raises:
        UserError: for an unknown model type, an objective that the model cannot do, or sequences
            and vocabularies larger than a pretrained model's.
    """
    import transformers

    options = dict(arguments)
    head = options.pop("head")
    cls: Any = getattr(transformers, HEADS[head][0])
    config = _hf_config(model, pretrained, options)
    _refuse_layers(model, config)
    _check_fit(model, config, options)
    config.use_cache = False
    if head == "embedding" and config.is_encoder_decoder:
        cls = transformers.AutoModelForTextEncoding
    try:
        if (
            config.is_encoder_decoder and head == "classification"
        ):  # its head would need tokens of its own vocabulary
            raise ValueError(UNFIT)
        built = (
            cls.from_pretrained(model, config=config, dtype=torch.float32)
            if pretrained
            else cls.from_config(config)
        )
    except ValueError as error:
        if UNFIT not in str(error):
            raise
        allowed, example = HEADS[head]
        raise UserError(
            f"backbone=hf:{model} cannot do task.objective={head}; allowed: models of transformers' {allowed}"
            f"{' with an encoder or a decoder only' if head == 'classification' else ''}; type for example "
            f"backbone={example}"
        ) from None
    if head == "embedding" and getattr(built, "pooler", None) is not None:
        built.pooler = (
            None  # of the first token, for BERT's sentence pairs: it would never be trained
        )
    return (
        built.train()
    )  # as timm's are; loaded models come in evaluation, and would be trained without dropout


def _hf_config(model: str, pretrained: bool, options: dict[str, Any]) -> Any:
    """Return the configuration of a type of model with `options`, or that of a pretrained one.

    Raises:
        UserError: for a name that leads nowhere.
    """
    import transformers

    if pretrained or model not in transformers.CONFIG_MAPPING:
        try:
            own = {key: options[key] for key in OF_ANY if key in options}
            return transformers.AutoConfig.from_pretrained(model, **own)
        except OSError:
            close = nearest(model, list(transformers.CONFIG_MAPPING), count=5)[:5]
            raise UserError(
                f"unknown backbone 'hf:{model}': no model type, folder with config.json, or hub id that can be "
                f"reached; nearest types: {', '.join('hf:' + name for name in close)}"
            ) from None
    # a task's vocabulary has no special tokens: BERT would never train the embedding of its
    # padding, number 0
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    return transformers.AutoConfig.for_model(model, **special | options)


def _refuse_layers(model: str, config: Any) -> None:
    """Refuse what `moesuite.save_moe` wrote: the plain class would draw its MoE layers' weights anew."""
    if getattr(config, "moesuite", None) is not None:
        raise UserError(
            f"hf:{model}: this model was saved with MoE layers; allowed: dense models, and those that are mixtures of "
            "experts in transformers; in Python type moesuite.load_moe(folder)"
        )


def _check_fit(model: str, config: Any, options: dict[str, Any]) -> None:
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
                f"{what} of {options[option]} is more than the {limit} of backbone=hf:{model}; allowed: at most "
                f"{limit}; type for example {instead.format(limit)}"
            )
