"""Recipes: how to build a dense model anew, as JSON, without its weights.

{"timm": <name>, "arguments": {…}}    of `timm.create_model`
{"hf": <class>, "config": {…}}        a class of transformers, and its configuration
{"mlp": <activation>, "arguments": {…}}, {"token_mlp": <activation>, "arguments": {…}}

Arguments that are classes of torch.nn or timm.layers are written {"class": "torch.nn.ReLU"}, those
with options {"partial": {"class": …}, "keywords": {…}}; no other code is named or run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from moesuite.errors import UserError
from moesuite.models.backbones import build_timm
from moesuite.models.depth_tiling import tile_depth
from moesuite.models.plain.perceptron import build_perceptron
from moesuite.models.plain.token_mlp import build_token_mlp

PLAIN = {"mlp": build_perceptron, "token_mlp": build_token_mlp}
LIBRARIES = ("torch.nn", "timm.layers")  # whose classes are arguments
# of `timm.create_model`: they name weights and files, and are no part of a model
NO_ARGUMENTS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path")


def recipe_of(model: Any, arguments: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return what rebuilds a dense model of this architecture, without weights; None if unknown.

    Args:
        model: of timm, transformers, or built by `moesuite.models.backbones`.
        arguments: of `timm.create_model`, beside those that timm recorded.

    Raises:
        UserError: for arguments of another kind of model, or that contradict it or are no JSON.
    """
    config: Any = getattr(model, "config", None)
    recipe: dict[str, Any] = getattr(model, "built_from", None) or {}
    name = recipe.get("timm") or _name(getattr(model, "pretrained_cfg", None) or {})
    if arguments is not None and name is None:
        raise UserError(
            f"arguments={dict(arguments)}: they are those of timm.create_model, and this is a "
            f"{type(model).__name__}; leave them out"
        )
    if hasattr(config, "to_json_string"):
        values = json.loads(config.to_json_string(use_diff=False))
        values.pop("moesuite", None)  # the description of its layers stands beside
        return {"hf": type(model).__name__, "config": values}
    if name is None:
        return recipe or None
    told = {**recipe.get("arguments", {}), **_of_timm(model, arguments)}
    return {**recipe, "timm": name, "arguments": encoded(told)}


def _name(published: Mapping[str, Any]) -> str | None:
    """Return the name of a timm model, with the tag of its weights, which tells how images look."""
    import timm

    name, tag = published.get("architecture"), published.get("tag")
    return f"{name}.{tag}" if tag and timm.models.is_model_pretrained(f"{name}.{tag}") else name


def is_guess(model: Any) -> bool:
    """Return whether the recipe of a timm model is its name and what can be read from it, only."""
    return not hasattr(model, "config") and not any(
        hasattr(model, name) for name in ("built_from", "_model_args")
    )


def _of_timm(model: Any, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments that timm recorded, with changes of classes, channels and image size."""
    import timm

    given = dict(arguments or {})
    recorded: dict[str, Any] = getattr(model, "_model_args", {})
    current = getattr(timm.models, "get_model_args", None)  # timm 1.0.31
    if current is None:
        classes = {"num_classes": model.num_classes} if hasattr(model, "num_classes") else {}
        size = getattr(getattr(model, "patch_embed", None), "img_size", None)
        return {**recorded, **classes, **({"img_size": size} if size else {}), **given}
    try:
        return {**recorded, **current(model, given)}
    except ValueError as error:
        raise UserError(f"arguments={given}: {error}; type those the model was made with") from None


def with_arguments(recipe: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe with other arguments.

    Raises:
        UserError: if it is not of a timm model.
    """
    if not isinstance(recipe, dict) or "timm" not in recipe:
        raise UserError(
            f"arguments={dict(arguments)}: this is no model of timm; expected none, or "
            "model=<the dense model> if how to build it is not known"
        )
    return {**recipe, "arguments": {**recipe["arguments"], **encoded(dict(arguments))}}


def from_recipe(recipe: Any) -> nn.Module:
    """Build the model of a recipe of `recipe_of`, with random weights.

    Raises:
        UserError: for a recipe that is none, or arguments that the library refuses.
    """
    if not (isinstance(recipe, dict) and recipe.keys() & {"timm", "hf", *PLAIN}):
        raise UserError(f"{recipe!r} is no recipe of a model; expected one that save_moe wrote")
    try:
        return _built(recipe)
    except UserError:
        raise
    except Exception as error:  # whatever a library raises for values that it does not know
        name = next(recipe[key] for key in ("timm", "hf", *PLAIN) if key in recipe)
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{name}: the dense model cannot be built as described: {what}") from None


def _built(recipe: dict[str, Any]) -> nn.Module:
    if "timm" in recipe:
        arguments = {k: v for k, v in recipe["arguments"].items() if k not in NO_ARGUMENTS}
        model: Any = build_timm(recipe["timm"], False, decoded(arguments))
        model.built_from = {"timm": recipe["timm"], "arguments": arguments}
        return tile_depth(model, recipe.get("tile_depth", 1))
    if kind := next((kind for kind in PLAIN if kind in recipe), None):
        return PLAIN[kind](recipe[kind], False, recipe["arguments"])
    import transformers

    values = json.loads(json.dumps(recipe["config"]), object_hook=_special_float)
    cls = getattr(transformers, recipe["hf"], None)
    if not (isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)):
        raise UserError(
            f"its class {recipe['hf']} is not a model of transformers; type load_moe(path, "
            "model=<such a model>)"
        )
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    built: Any = cls
    return built._from_config(config)


def _special_float(values: dict[str, Any]) -> Any:
    """Return the infinity or NaN that transformers wrote as an object of JSON, or the object."""
    return float(values["__float__"]) if values.keys() == {"__float__"} else values


def encoded(value: Any) -> Any:
    """Return an argument as JSON.

    Raises:
        UserError: for a value that is none, and no class of a known library.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [encoded(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encoded(item) for key, item in value.items()}
    if isinstance(value, partial) and not value.args:
        return {"partial": encoded(value.func), "keywords": encoded(value.keywords)}
    for library in LIBRARIES:
        if getattr(value, "__name__", None) and _class(library, value.__name__) is value:
            return {"class": f"{library}.{value.__name__}"}
    raise UserError(
        f"the argument {value!r} of a model cannot be saved; expected values of JSON, or classes "
        f"of {' or '.join(LIBRARIES)}; type save_moe(model, path, check=False), and later "
        "load_moe(path, model=<the dense model>)"
    )


def decoded(value: Any) -> Any:
    """Return the argument that `encoded` wrote."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"class"}:
        library, _, name = str(value["class"]).rpartition(".")
        if library not in LIBRARIES or (cls := _class(library, name)) is None:
            raise UserError(f"{value['class']} is no class of {' or '.join(LIBRARIES)}")
        return cls
    if value.keys() == {"partial", "keywords"}:
        return partial(decoded(value["partial"]), **decoded(value["keywords"]))
    return {key: decoded(item) for key, item in value.items()}


def _class(library: str, name: str) -> Any:
    """Return a class of modules of a library, or None."""
    import timm.layers

    cls = getattr({"torch.nn": nn, "timm.layers": timm.layers}[library], name, None)
    return cls if isinstance(cls, type) and issubclass(cls, nn.Module) else None
