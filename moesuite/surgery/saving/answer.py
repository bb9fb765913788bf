"""The answer of a model to a fixed example: saved beside its weights, compared at loading.

The example is `moesuite.models.example_inputs.random_example`, two short texts or an image, or the
user's; it is saved, too. Of the output at most `VALUES` values are, evenly spaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.models.example_inputs import random_example
from moesuite.models.forward import call, evaluating

VALUES = 4096
LIBRARIES = ("torch", "timm", "transformers")
# largest differences, as shares of the answer, by bytes of a weight: room for kernels of other
# versions and processors, after which a token may choose another expert
TOLERANCES = {2: 0.05, 4: 0.001, 8: 0.001}
OTHER_DEVICE = 5  # factor of the tolerance
EXACT = 0.1  # share of the tolerance in the same process, on the same device


@dataclass(frozen=True)
class Answer:
    """An example, and what a model answers in evaluation.

    Attributes:
        inputs: tensors by keyword; that of "" is the only argument.
        output: [N], float32.
        device: its kind.
        versions: of the libraries that the model was run with.
    """

    inputs: dict[str, Tensor]
    output: Tensor
    device: str
    versions: dict[str, str] = field(default_factory=dict)


def answer_of(model: nn.Module, example: Any = None) -> Answer:
    """Run a model on an example.

    Args:
        model: of any kind, in any mode.
        example: a tensor, or tensors by keyword; None: always the same random one.

    Raises:
        UserError: if no example is known, or the model does not run on it.
    """
    example = random_example(model) if example is None else example
    inputs = {"": example} if isinstance(example, Tensor) else example
    if not isinstance(inputs, Mapping) or not all(isinstance(x, Tensor) for x in inputs.values()):
        raise UserError("example: expected a tensor, or tensors by the keywords of the model")
    # copies: keywords may share a tensor, which safetensors refuses to write
    inputs = {name: value.detach().cpu().clone() for name, value in inputs.items()}
    return Answer(inputs, output_of(model, inputs), _device(model).type, _versions())


def output_of(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the answer of a model to the inputs of an `Answer`: [N], float32, on the CPU.

    Raises:
        UserError: if the model does not run on them.
    """
    device = _device(model)
    batch: Any = {name: value.to(device) for name, value in inputs.items()}
    batch = batch.get("", batch)
    try:
        with (
            evaluating(model),
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
            torch.autocast(device.type, enabled=False),
        ):
            torch.manual_seed(0)
            tensors = list(_tensors(call(model, batch)))
    # a model may raise anything for an example that is not made for it
    except Exception as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{type(model).__name__} does not run on the example: {what}") from None
    share = VALUES // max(1, len(tensors))
    parts = [value.flatten()[:: max(1, -(-value.numel() // share))] for value in tensors]
    return torch.cat([part.detach().float().cpu() for part in parts] or [torch.zeros(0)])


def difference(output: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference of two answers, as a share of the expected one's."""
    if output.shape != expected.shape or not torch.equal(output.isnan(), expected.isnan()):
        return torch.inf
    output, expected = output.nan_to_num().double(), expected.nan_to_num().double()
    return ((output - expected).norm() / expected.norm().clamp(min=1e-12)).item()


def tolerance(model: nn.Module, answer: Answer) -> float:
    """Return the largest difference at which a loaded model counts as the saved one."""
    sizes = [p.itemsize for p in model.parameters() if p.is_floating_point()]
    limit = TOLERANCES.get(min(sizes, default=4), TOLERANCES[2])
    return limit * (1 if _device(model).type == answer.device else OTHER_DEVICE)


def changed_versions(answer: Answer) -> str:
    """Return in words which libraries have another version than when an answer was saved."""
    here = _versions()
    other = [
        f"{name} {saved} then, {here.get(name, 'none')} now"
        for name, saved in answer.versions.items()
        if here.get(name) != saved
    ]
    return f" ({', '.join(other)})" if other else ""


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors of an output, without caches of keys and values."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping | list | tuple):
        for value in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(value)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
