"""Call a model: with inputs of any form, in evaluation mode, on a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

CHUNKS = "chunk_size_feed_forward"  # of transformers: tokens that an MLP gets at a time, 0 for all


def call(model: nn.Module, inputs: Tensor | dict[str, Tensor]) -> Any:
    """Call a model with a tensor, cast to the dtype of its weights, or with keyword arguments."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(inputs.to(next(model.parameters()).dtype))


def placed(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return a batch with its tensors on `device`."""
    return {
        key: value.to(device) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put `model` in evaluation mode within this context.

    Afterwards every module is in its previous mode: some may be frozen in evaluation mode.
    """
    training = [module for module in model.modules() if module.training]
    try:
        yield model.eval()
    finally:
        for module in training:
            module.training = True


@contextmanager
def unchunked(model: nn.Module) -> Iterator[None]:
    """Within this context, MLPs of transformers get all tokens at a time."""
    chunked = [module for module in model.modules() if getattr(module, CHUNKS, 0)]
    sizes = [getattr(module, CHUNKS) for module in chunked]
    try:
        for module in chunked:
            setattr(module, CHUNKS, 0)
        yield
    finally:
        for module, size in zip(chunked, sizes, strict=True):
            setattr(module, CHUNKS, size)


@contextmanager
def without_autocast() -> Iterator[None]:
    """Within this context, layers are compared in the precision of their weights."""
    kinds = ["cpu"]
    if (accelerator := torch.accelerator.current_accelerator(check_available=True)) is not None:
        kinds.append(accelerator.type)
    with ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def run_once(
    model: nn.Module, inputs: Tensor | dict[str, Tensor], hooks: Iterable[RemovableHandle]
) -> None:
    """Call a model in evaluation mode, without gradients, and remove `hooks` afterwards."""
    try:
        with evaluating(model), unchunked(model), torch.no_grad():
            call(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()


def is_encoder_decoder(model: nn.Module) -> bool:
    """Return whether `model` is a Hugging Face encoder-decoder."""
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))


def first_tensor(output: Any) -> Tensor:
    """Return the first tensor of a model's inputs or output."""
    if isinstance(output, Tensor):
        return output
    return first_tensor(next(iter(output.values() if isinstance(output, Mapping) else output)))
