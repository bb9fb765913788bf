"""Whether an MLP computes what was read of it: both run on random tokens, with random weights.

The names of its parts do not say what a forward does with them: FalconH1 scales, Gemma3n drops most
of the gate, TinyViT normalises first. Hence the forward is run: on tokens of small and large
values, which shows clamps; in evaluation, and in training, which shows dropout at other places.

The weights are random float32 in CPU memory, whatever those of the model are: scales that start at
0 or 1 show, half precision rounds nothing away, and a model on the meta device is checked as any
other. No weight of the model is copied, and none of its hooks is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite.models.forward import first_tensor
from moesuite.models.mlps.split.read import SplitMLP
from moesuite.models.mlps.twin import with_random_weights
from moesuite.nn.experts import DenseMLP

TOKENS = (2, 3)  # groups, tokens
SCALES = (0.25, 1.0, 4.0, 16.0, 64.0, 256.0)  # of the tokens
SEED = 0  # of dropout
TOLERANCE = 1e-3  # of the largest output of a token
INTERNAL = frozenset(vars(nn.Module())) | {"training"}  # attributes that are no settings
PLAIN = int | float | str | tuple | None

Reading = DenseMLP | SplitMLP
Read = Callable[[nn.Module], Sequence[Reading]]


def fault(module: nn.Module, read: Read) -> str:
    """Return how a module differs from what `read` makes of it; empty if it does not.

    A layer that an MLP is spread over is compared with what becomes of it, if the layer runs on
    tokens alone; if it does not, nothing is said against it.
    """
    if len(dtypes := {str(parameter.dtype) for parameter in module.parameters()}) > 1:
        return f"has weights of {' and '.join(sorted(dtypes))}; cast it to one, e.g. model.float()"
    with torch.device("cpu"):  # wherever the caller builds models
        return _fault_of_copy(module, read)


def _fault_of_copy(module: nn.Module, read: Read) -> str:
    """Compare a copy of a module with what `read` makes of it; see `fault`."""
    try:
        alike = with_random_weights(module)
        readings = read(alike)
    except Exception as error:  # of code that is not known
        return f"cannot be copied ({_words(error)})"
    if not readings:
        return "is not read in a copy; an adapter decides by class and parts"
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        if isinstance(readings[0], DenseMLP):
            return _fault_of_whole(alike, readings[0])
        splits = [reading for reading in readings if isinstance(reading, SplitMLP)]
        return _fault_of_split(with_random_weights(module), alike, splits)


def _fault_of_whole(module: nn.Module, mlp: DenseMLP) -> str:
    """Compare a module with the MLP that was read of it."""
    formula = _formula(mlp)
    x = tokens_of_all_scales(mlp.up.in_features)
    for training in (False, True):
        # dropouts may be functions in the module
        set_mode(training, module, mlp.drop1, mlp.drop2)
        try:
            actual = run(module, x, mlp.channels_first)
        except Exception as error:  # of code that is not known
            return f"does not take tokens [G, T, D] alone ({_words(error)})"
        if not isinstance(actual, Tensor):
            return f"returns a {type(actual).__name__}"
        if actual.shape != x.shape:
            return f"returns {[*actual.shape]} for tokens {[*x.shape]}"
        rows = x.flatten(0, 1)
        for seen in (rows[None], rows):  # as experts see tokens: [E, N, D], or [N, D]
            torch.default_generator.manual_seed(SEED)
            try:
                expected = mlp(seen).view(x.shape)
            except Exception:  # a norm of another width, layers that do not follow each other
                return f"is not {formula}: the shapes of its parts do not fit"
            if words := _difference(actual, expected, training):
                return f"differs from {formula}{words}"
    return ""


def _fault_of_split(layer: nn.Module, changed: nn.Module, splits: Sequence[SplitMLP]) -> str:
    """Compare a layer with its twin `changed`, whose MLPs are replaced by what was read of them."""
    x = tokens_of_all_scales(splits[0].mlp.up.in_features)
    for split in splits:
        changed.set_submodule(split.first, _Whole(split.mlp))
        for name, module in split.also.items():
            changed.set_submodule(name, module)
        for name, value in split.settings.items():
            owner, _, attribute = name.rpartition(".")
            setattr(changed.get_submodule(owner), attribute, value)
    for training in (False, True):
        set_mode(training, layer, changed)
        try:
            actual = _run_layer(layer, x)
        except Exception:  # it needs more than tokens
            return ""
        try:
            expected = _run_layer(changed, x)
        except Exception as error:
            return f"does not run with its MLP in one place ({_words(error)})"
        if words := _difference(actual, expected, training):
            return f"differs with its MLP in one place{words}"
    return ""


class _Whole(nn.Module):
    """An MLP as a module, which sees tokens [1, N, D] as an expert does."""

    def __init__(self, mlp: DenseMLP) -> None:
        super().__init__()
        self.mlp = mlp
        self.dropouts = nn.ModuleList([mlp.drop1, mlp.drop2])  # their mode is the module's

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.mlp(x.flatten(0, -2)[None]).view(x.shape)


def _run_layer(layer: nn.Module, x: Tensor) -> Tensor:
    """Call a layer with tokens, and None for whatever else it has to be called with."""
    parameters = list(inspect.signature(layer.forward).parameters.values())[1:]
    required = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    torch.default_generator.manual_seed(SEED)
    return first_tensor(layer(x, **dict.fromkeys(required)))


def set_mode(training: bool, *modules: nn.Module) -> None:
    """Put modules in training, or in evaluation."""
    for module in modules:
        module.train(training)


def _difference(actual: Tensor, expected: Tensor, training: bool) -> str:
    """Return by how much two outputs differ, in words; empty if they do not."""
    difference = relative_difference(actual, expected)
    if difference <= TOLERANCE:  # false for NaN
        return ""
    return f"{' in training (by dropout)' if training else ''} by {difference:.1%} of its output"


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def relative_difference(x: Float[Tensor, "*shape D"], y: Float[Tensor, "*shape D"]) -> float:
    """Return the largest difference of two outputs, relative to the largest of each token of y."""
    tiny = torch.finfo(y.dtype).tiny
    return ((x - y).abs().amax(-1) / y.abs().amax(-1).clamp(min=tiny)).max().item()


def kind(module: nn.Module) -> Hashable:
    """Return what modules have in common that differ in nothing but the values of their weights."""
    return tuple(
        (name, type(part), _settings(part), _shapes(part)) for name, part in module.named_modules()
    )


def _settings(module: nn.Module) -> tuple[tuple[str, Hashable], ...]:
    """Return the plain attributes of a module, and the identities of the others."""
    attributes = {name: value for name, value in vars(module).items() if name not in INTERNAL}
    return tuple(
        (name, repr(value) if isinstance(value, PLAIN) else id(value))
        for name, value in attributes.items()
    )


def _shapes(module: nn.Module) -> tuple[tuple[str, torch.Size, torch.dtype], ...]:
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return tuple((name, tensor.shape, tensor.dtype) for name, tensor in tensors)


def tokens_of_all_scales(dim: int) -> Float[Tensor, "G T D"]:
    """Return tokens of all scales."""
    x = torch.randn(*TOKENS, dim, generator=torch.Generator().manual_seed(1))
    return x * torch.tensor(SCALES).view(*TOKENS, 1)


def run(module: nn.Module, x: Float[Tensor, "G T D"], channels_first: bool) -> Any:
    """Call a module in the layout of its tokens."""
    torch.default_generator.manual_seed(SEED)
    if not channels_first:
        return module(x)
    if module.training:  # one token an image: dropout draws in the order of the values in memory
        return module(x.flatten(0, 1)[:, :, None, None]).flatten(1).unflatten(0, TOKENS)
    return module(x.mT[..., None])[..., 0].mT


def _formula(mlp: DenseMLP) -> str:
    hidden = "act(up x)" if mlp.gate is None else "act(gate x) · up x"
    return f"down({hidden})" if mlp.norm is None else f"down(norm({hidden}))"
