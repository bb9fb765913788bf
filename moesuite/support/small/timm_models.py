"""One small model of every family of timm.

A family is a module of timm and the part of a name before its size: `swinv2_cr` of
`swinv2_cr_tiny_224`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn

from moesuite.models.example_inputs import default_example
from moesuite.support.small.hf_configs import check_size

SIZES = [
    "zepto",
    "atto",
    "femto",
    "pico",
    "nano",
    "xxtiny",
    "xxt",
    "xtiny",
    "xt",
    "tiny",
    "ti",
    "t",
]
SIZES += ["xxs", "xs", "mini", "small", "s"]
LARGER = ["medium", "m", "base", "b", "large", "l", "xlarge", "xl", "huge", "h", "giant", "g"]
LARGER += ["gigantic", "so"]
DEEP = re.compile("depth|depths|num_blocks|layers|block_sizes|num_layers|transformer_depths")
# of models that are made of a `cfg`, and take its options: NaFlexViT, MaxViT and its kin
BY_CFG: list[dict[str, Any]] = [
    {"embed_dim": 64, "depth": 2, "num_heads": 2},
    {"embed_dim": (32, 32, 64, 64), "depths": (1, 1, 1, 1)},
]
PIXELS = 64  # of models that take any size
CLASSES = 10


def families() -> dict[str, list[str]]:
    """Return the models of each family, the smallest first."""
    grouped: dict[str, list[str]] = {}
    for name in timm.list_models():
        grouped.setdefault(family(name), []).append(name)
    return {name: sorted(models, key=_size) for name, models in sorted(grouped.items())}


def family(name: str) -> str:
    """Return the part of a model's name before its size."""
    first, *rest = name.split("_")
    parts = [re.sub(r"(?<![v.])\d+\w*$", "", first) or first]
    for part in rest:
        if part in SIZES or part in LARGER or re.search(r"\d", part):
            break
        parts.append(part)
    return "_".join(parts)


def _size(name: str) -> tuple[int, list[int], str]:
    words = name.split("_")
    known = [*SIZES, *LARGER]
    place = min((known.index(word) for word in words if word in known), default=len(SIZES))
    return place, [int(number) for number in re.findall(r"\d+", name)], name


def builders(name: str) -> Iterator[Callable[[], nn.Module]]:
    """Yield functions that build a model of a name, the smallest one first."""
    with torch.device("meta"):
        model: Any = timm.create_model(name)
    parameters = inspect.signature(type(model).__init__).parameters
    usual = {key: value.default for key, value in parameters.items()}
    smaller = {key: small for key, value in usual.items() if (small := _small(key, value)) != value}
    shallow = {key: value for key, value in smaller.items() if DEEP.fullmatch(key)}
    pixels = {"img_size": _pixels(model)} if "img_size" in parameters else {}
    by_cfg = [{**pixels, **arguments} for arguments in BY_CFG if "cfg" in parameters]
    tried = list[dict[str, Any]]()
    for arguments in (*by_cfg, pixels | smaller, pixels | shallow, pixels, shallow, {}):
        if arguments not in tried:
            tried.append(arguments)
            yield partial(_build, name, {"num_classes": CLASSES, **arguments})


def _pixels(model: Any) -> int:
    """Return about `PIXELS`, in whole patches."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", 16)
    patch = patch[0] if isinstance(patch, list | tuple) else patch
    return patch * max(2, PIXELS // patch) if isinstance(patch, int) else PIXELS


def _build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Build a model with random weights.

    Raises:
        ValueError: for a model that is not small.
    """
    with torch.device("meta"), suppress(RuntimeError, NotImplementedError):
        check_size(timm.create_model(name, **arguments))
    torch.manual_seed(0)
    return timm.create_model(name, **arguments)


def inputs_of(model: Any) -> Iterator[Tensor]:
    """Yield inputs that a model may take."""
    blank = default_example(model)
    random = torch.Generator().manual_seed(0)
    channels = 3 if blank is None else blank.shape[1]
    small = (channels, PIXELS, PIXELS)
    shapes = [small] if blank is None else [tuple(blank.shape[1:]), small]
    if blank is not None and not model.pretrained_cfg.get("fixed_input_size", False):
        shapes = [small, *shapes]
    for shape in shapes:
        yield torch.randn(2, *shape, generator=random)


def _small(name: str, value: Any) -> Any:
    """Return a small value of an argument in place of its default."""
    if isinstance(value, bool) or not isinstance(value, int | list | tuple):
        return value
    several = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, int) for each in several):
        return value
    small = [*several]
    if DEEP.fullmatch(name):
        small = [1 for _ in several] if several is value else [2]
    elif name in ("num_heads", "heads"):
        small = [2 for _ in several]
    elif name in ("embed_dim", "embed_dims", "dims"):
        small = [32 * (place + 1) for place, _ in enumerate(several)] if several is value else [64]
    return type(value)(small) if several is value else small[0]
