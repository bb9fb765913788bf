"""What a model's MoE layers know of a forward besides their input: padding, token ids, losses.

A scope is open while a module that takes masks, ids or inputs runs, and says what that call was
given (`moesuite.surgery.hooks` opens and closes it). Scopes nest: a layer asks the innermost first,
and those around it as long as they speak of the same tokens. Nothing outlasts the outermost call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import torch
from torch import Tensor

from moesuite.errors import UserError
from moesuite.nn.recomputation import Side, in_backward, is_running

UNREAD_LIMIT = 8  # training forwards with unread losses; more means that nobody reads them


@dataclass(eq=False)
class Scope:
    """What one call of a module says of the tokens in it.

    Args:
        mask: [G, T] or [1, T], True for real tokens; or None.
        implied: whether the mask is what one of attention says.
        takes_mask: whether the call could have been given one.
        ids: [G, T], or None.
        shape: (G, T) of the tokens that the call was given, if it is known.
        fresh: the call brings tokens of its own, of which scopes around it know nothing.
        name: of the module.

    Attributes:
        frame: of the call, which runs as long as it is on the stack; None if it is not known.
        outer: the scope around it.
        losses: number of losses that were unread when it was opened.
        with_grad: whether the outermost call has gradients.
        recomputed: whether a compiled call repeats another in backward.
    """

    mask: Tensor | None = None
    implied: bool = False
    takes_mask: bool = True
    ids: Tensor | None = None
    shape: tuple[int, int] | None = None
    fresh: bool = False
    name: str = ""
    frame: FrameType | None = None
    outer: Scope | None = None
    losses: int = 0
    with_grad: bool = False
    recomputed: bool = False

    def interrupted(self) -> bool:
        """Return whether the call has ended without closing its scope, as by Ctrl-C."""
        is_known = self.frame is not None and not torch.compiler.is_compiling()
        return is_known and not is_running(self.frame)


class _Open(threading.local):
    """The innermost open scope of each context, in each thread; a global, as graphs need it."""

    def __init__(self) -> None:
        self.scopes: dict[RoutingContext, Scope] = {}


_OPEN = _Open()


@dataclass(eq=False)
class RoutingContext:
    """What passes between a model and its MoE layers besides the layers' own arguments.

    Attributes:
        opened: whether one ever was.
        losses: auxiliary losses of the training forwards that `aux_loss` has not read yet.
        unread: number of those forwards, by the module or layer that was called.
    """

    opened: bool = False
    losses: list[tuple[str, Tensor]] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)

    @property
    def scope(self) -> Scope | None:
        """The innermost scope that is open in this thread, or None."""
        scope = _OPEN.scopes.get(self)
        while scope is not None and scope.interrupted():
            self._forget(scope)
            scope = scope.outer
        return scope

    @scope.setter
    def scope(self, scope: Scope | None) -> None:
        if scope is None:
            _OPEN.scopes.pop(self, None)
        else:
            _OPEN.scopes[self] = scope

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles start fresh, without the tensors of a running forward."""
        return RoutingContext().__dict__

    def open(self, scope: Scope, training: bool) -> None:
        """Open the scope of a call of the module `scope.name`.

        Raises:
            RuntimeError: if the losses of many training forwards were never read.
        """
        scope.outer = outer = self.scope
        scope.losses = len(self.losses)
        if not scope.takes_mask and _speaks_of(outer, scope.ids):
            scope.fresh = False
        scope.with_grad = torch.is_grad_enabled() if outer is None else outer.with_grad
        # compiled: a part below the model, outside any call of it, runs again in backward
        again = torch.compiler.is_compiling() and self.opened and scope.name != ""
        scope.recomputed = again if outer is None else outer.recomputed
        self.scope = scope
        self.opened = True
        if outer is None and training and not scope.recomputed:
            self.count(scope.name)

    def close(self, name: str, failed: bool = False) -> None:
        """Close the innermost scope of a module, and those left open in it.

        Args:
            name: of the module.
            failed: whether the call raised an error, so that its losses are of no forward.
        """
        scope = self.scope
        while scope is not None and scope.name != name:
            scope = scope.outer
        if scope is not None and failed:
            self._forget(scope)
        elif scope is not None:
            self.scope, scope.frame = scope.outer, None

    def _forget(self, scope: Scope) -> None:
        """Close a scope, and drop the losses that its call recorded, with their graphs."""
        del self.losses[scope.losses :]
        self.scope, scope.frame = scope.outer, None

    @contextmanager
    def inside(self, scope: Scope | None) -> Iterator[None]:
        """Within this context, let layers that are called by themselves see `scope`."""
        before, self.scope = self.scope, scope
        try:
            yield
        finally:
            self.scope = before

    def count(self, name: str) -> None:
        """Count a training forward of a module or layer.

        Raises:
            RuntimeError: if the losses of many were never read: training would silently ignore
                them.
        """
        if not self.losses or not torch.is_grad_enabled():
            return
        self.unread[name] = self.unread.get(name, 0) + 1
        if self.unread[name] > UNREAD_LIMIT:
            raise RuntimeError(
                f"the auxiliary losses of {self.unread[name]} training forwards were never read: "
                "add `loss = loss + moesuite.aux_loss(model)` before `loss.backward()`"
            )

    def read(self) -> list[tuple[str, Tensor]]:
        """Return the unread losses, and mark them read."""
        _ = self.scope  # drops those of interrupted calls
        losses, self.losses = self.losses, []
        self.unread = {}
        return losses

    def hides_gradient(self) -> bool:
        """Return whether a part of a model runs without gradients, though the model has them."""
        return self.scope is not None and self.scope.with_grad and not torch.is_grad_enabled()

    def recomputing(self) -> bool:
        """Return whether a forward that runs now repeats one, for activation checkpointing."""
        if torch.compiler.is_compiling():  # a graph cannot ask autograd
            return self.opened if self.scope is None else self.scope.recomputed
        return in_backward()

    def side(self, shape: torch.Size) -> Side:
        """Return what is known of tokens of shape [G, ..., D] or [N, D].

        Raises:
            UserError: for a padding mask that does not fit.
        """
        groups = self._groups(shape)
        return Side(groups, self._mask(groups, len(shape) == 2), self._ids(groups))

    def _groups(self, shape: torch.Size) -> tuple[int, int]:
        """Return (G, T); some hosts flatten their sequences before the MLP."""
        if len(shape) > 2:
            return shape[0], shape[1:-1].numel()
        scope = self.scope
        while scope is not None:
            if scope.shape is not None and scope.shape[0] * scope.shape[1] == shape[0]:
                return scope.shape
            scope = None if scope.fresh else scope.outer
        return 1, shape[0]

    def _mask(self, groups: tuple[int, int], flat: bool) -> Tensor | None:
        """Return the innermost padding mask; without one, what the innermost of attention says."""
        scope, implied, is_other = self.scope, None, flat
        while scope is not None:
            if scope.mask is not None and scope.implied:
                fits = scope.mask.shape in (groups, (1, groups[1]))
                implied = scope.mask.expand(groups) if fits and implied is None else implied
            elif scope.mask is not None:
                if scope.mask.shape == groups:
                    return scope.mask
                if implied is None and not is_other:
                    _check_all_real(scope.mask, groups)
                break
            # a call further in could have been given a mask of its tokens
            is_other = is_other or scope.takes_mask
            scope = None if scope.fresh else scope.outer
        return implied

    def _ids(self, groups: tuple[int, int]) -> Tensor | None:
        scope = self.scope
        while scope is not None:
            if scope.ids is not None:
                return scope.ids if scope.ids.shape == groups else None
            scope = None if scope.fresh else scope.outer
        return None


def _speaks_of(scope: Scope | None, ids: Tensor | None) -> bool:
    """Return whether one of the scopes around a call was given the same ids."""
    while scope is not None and ids is not None and scope.ids is not ids:
        scope = scope.outer
    return scope is not None and ids is not None


def _check_all_real(mask: Tensor, groups: tuple[int, int]) -> None:
    """Refuse padding of tokens that are not known; a group of one token has none."""
    if groups[1] > 1 and not mask.all():
        raise UserError(
            f"padding mask of shape {tuple(mask.shape)} for tokens of shape {groups}: expected one "
            "value per token, or, of a model that pools its tokens, a batch without padding"
        )
