"""Validation of routings: the form that dispatch and experts rely on, reported as one line.

`check_form` checks types, shapes and dtypes, in microseconds, at every forward. `check_values`
reads values, which makes the host wait for a GPU: at the first forward of a layer in each mode, and
in certificates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.routing.forms import EMPTY, RaggedRouting, SlotRouting, SoftRouting
from moesuite.routing.static_form import check_static

WEIGHTS = (torch.float32, torch.bfloat16, torch.float16)
FORMS = "SoftRouting, SlotRouting or RaggedRouting"


def name_of(router: nn.Module) -> str:
    """Return the name that a router was built by, or the name of its class."""
    return getattr(router, "name", "") or type(router).__name__


def check_form(routing: Any, shape: Sequence[int], num_experts: int, router: str) -> None:
    """Check types, shapes and dtypes of a routing.

    Args:
        routing: what a router returned.
        shape: [G, T, ...] of the tokens.
        num_experts: E.
        router: its name, for the message.

    Raises:
        UserError: for the first fault, with what is allowed.
    """
    for part, wrong, allowed in _faults(routing, shape[0], shape[1], num_experts):
        raise UserError(f"router={router} returns {part} {wrong}; allowed: {allowed}")


Fault = tuple[str, str, str]  # part, what is wrong with it, what is allowed


def _faults(routing: Any, groups: int, length: int, num_experts: int) -> Iterator[Fault]:
    match routing:
        case SlotRouting():
            yield from _slot_faults(routing, groups, length, num_experts)
        case RaggedRouting():
            yield from _ragged_faults(routing, groups, length, num_experts)
        case SoftRouting():
            yield from _soft_faults(routing, groups, length, num_experts)
        case _:
            yield "a", type(routing).__name__, f"a {FORMS}"
            return
    yield from _loss_faults(routing.losses)


def _slot_faults(
    routing: SlotRouting, groups: int, length: int, num_experts: int
) -> Iterator[Fault]:
    yield from _integers("tokens", routing.tokens)
    yield from _floats("weights", routing.weights)
    shape = tuple(routing.tokens.shape)
    if len(shape) != 3 or shape[:2] != (groups, num_experts):
        yield "tokens", f"of shape {shape}", f"[G, E, C] with G={groups}, E={num_experts}"
    if tuple(routing.weights.shape) != shape:
        yield "weights", f"of shape {tuple(routing.weights.shape)}", f"the shape of tokens, {shape}"
    if routing.num_tokens != length:
        yield "num_tokens", f"= {routing.num_tokens}", f"T={length}, padding included"
    demand = routing.demanded
    if demand is not None and tuple(demand.shape) != (groups, num_experts):
        yield "demanded", f"of shape {tuple(demand.shape)}", f"[G, E] = ({groups}, {num_experts})"


def _ragged_faults(
    routing: RaggedRouting, groups: int, length: int, num_experts: int
) -> Iterator[Fault]:
    yield from _integers("tokens", routing.tokens)
    yield from _integers("experts", routing.experts)
    yield from _floats("weights", routing.weights)
    shapes = {tuple(part.shape) for part in (routing.tokens, routing.experts, routing.weights)}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        yield (
            "tokens, experts and weights",
            f"of shapes {sorted(shapes)}",
            "three of shape [M], one value for each pair",
        )
    size = routing.num_groups, routing.num_tokens, routing.num_experts
    if size != (groups, length, num_experts):
        yield (
            "num_groups, num_tokens, num_experts",
            f"= {size}",
            f"({groups}, {length}, {num_experts})",
        )


def _soft_faults(
    routing: SoftRouting, groups: int, length: int, num_experts: int
) -> Iterator[Fault]:
    yield from _floats("dispatch", routing.dispatch)
    yield from _floats("combine", routing.combine)
    shape = tuple(routing.dispatch.shape)
    if len(shape) != 4 or shape[:3] != (groups, length, num_experts):
        yield (
            "dispatch",
            f"of shape {shape}",
            f"[G, T, E, C] with G={groups}, T={length}, E={num_experts}",
        )
    if tuple(routing.combine.shape) != shape:
        yield (
            "combine",
            f"of shape {tuple(routing.combine.shape)}",
            f"the shape of dispatch, {shape}",
        )


def _integers(part: str, tensor: Any) -> Iterator[Fault]:
    if not isinstance(tensor, Tensor):
        yield part, f"of type {type(tensor).__name__}", "an int64 tensor"
    elif tensor.dtype != torch.int64:
        yield part, f"of {tensor.dtype}", "int64"


def _floats(part: str, tensor: Any) -> Iterator[Fault]:
    if not isinstance(tensor, Tensor):
        yield part, f"of type {type(tensor).__name__}", "a float32 tensor"
    elif tensor.dtype not in WEIGHTS:
        yield part, f"of {tensor.dtype}", "float32 (or bfloat16, float16)"


def _loss_faults(losses: Any) -> Iterator[Fault]:
    if not isinstance(losses, Mapping):
        yield (
            "losses",
            f"of type {type(losses).__name__}",
            'a mapping of names to scalar tensors, {"balance": loss}',
        )
        return
    for name, loss in losses.items():
        if not isinstance(name, str):
            yield (
                f"a loss by the name {name!r}",
                f"of type {type(name).__name__}",
                'a string, {"balance": loss}',
            )
        if not isinstance(loss, Tensor):
            yield (
                f"the loss {name!r}",
                f"of type {type(loss).__name__}",
                "a float tensor of shape ()",
            )
        elif loss.ndim or not loss.is_floating_point():
            yield (
                f"the loss {name!r}",
                f"of shape {tuple(loss.shape)} and {loss.dtype}",
                "a float tensor of shape ()",
            )


def check_values(routing: Any, router: str) -> None:
    """Check that all indices of a valid form are in range, and that empty slots have weight 0.

    Args:
        routing: whose form `check_form` accepts.
        router: its name, for the message.

    Raises:
        UserError: for the first fault, with what is allowed.
    """
    if isinstance(routing, SlotRouting):
        _check_range(
            "a token index",
            routing.tokens,
            EMPTY,
            routing.num_tokens - 1,
            "EMPTY (-1) or 0 to T-1",
            router,
        )
        _check_empty(routing, router)
    elif isinstance(routing, RaggedRouting):
        last = routing.num_groups * routing.num_tokens - 1
        _check_range(
            "a token index",
            routing.tokens,
            0,
            last,
            "0 to G·T-1 (tokens are numbered across groups)",
            router,
        )
        _check_range(
            "an expert index", routing.experts, 0, routing.num_experts - 1, "0 to E-1", router
        )


def _check_range(
    part: str, indices: Tensor, first: int, last: int, allowed: str, router: str
) -> None:
    if indices.numel() == 0 or indices.is_meta:
        return
    low, high = (int(value) for value in indices.aminmax())
    if low < first or high > last:
        wrong = high if high > last else low
        raise UserError(
            f"router={router} returns {part} of {wrong}; allowed: {allowed}, here at most {last}"
        )


def _check_empty(routing: SlotRouting, router: str) -> None:
    if routing.tokens.is_meta or routing.weights.is_meta:
        return
    weights = routing.weights.detach().abs()
    weights = weights.masked_fill(routing.tokens.to(weights.device) != EMPTY, 0)
    if (weights > 0).any():  # NaN is left to the check `weights_finite`
        raise UserError(
            f"router={router} returns a weight of {float(weights.nan_to_num().max()):.3g} in an "
            "empty slot (token -1); allowed: 0, e.g. weights.masked_fill(tokens == EMPTY, 0.0)"
        )


class Inspector:
    """Checks of one layer: the form at every forward, values at the first of each mode."""

    def __init__(self) -> None:
        self._seen = set[bool]()

    def __call__(
        self, routing: Any, shape: Sequence[int], num_experts: int, router: nn.Module
    ) -> None:
        """Check a routing of tokens of `shape` [G, T, ...]; skipped while a graph is compiled.

        Raises:
            UserError: for the first fault.
        """
        if torch.compiler.is_exporting():
            check_static(routing, name_of(router))
        if torch.compiler.is_compiling():
            return
        check_form(routing, shape, num_experts, name_of(router))
        if router.training not in self._seen:
            check_values(routing, name_of(router))
            self._seen.add(router.training)
