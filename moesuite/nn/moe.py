"""The MoE layer = router + dispatcher + experts, and what is read of a model's layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite.nn.beside.default_outputs import DefaultOutputs
from moesuite.nn.beside.null_experts import NullExperts
from moesuite.nn.beside.shared_experts import SharedExperts
from moesuite.nn.context import RoutingContext
from moesuite.nn.dispatch import default_dispatcher
from moesuite.nn.dispatcher import Dispatcher, Work
from moesuite.nn.experts import AnyExperts
from moesuite.nn.recomputation import History, Side, in_reentrant_backward, in_reentrant_forward
from moesuite.routing.forms import Routing
from moesuite.routing.router import Router
from moesuite.routing.validation import Inspector


class MoE(nn.Module):
    """Drop-in replacement of an MLP: [G, ..., D] -> [G, ..., D].

    The first axis holds groups, those between are tokens.

    Args:
        router: sees tokens in float32.
        experts: apply the MLPs.
        channels_first: tokens are [G, D, ...], as in convolutional models.
        in_decoder: whether the layer is in the decoder of an encoder-decoder.
        renormalise: divide the combine weights of each token by their sum.
        shared: applied to every token besides the routed experts, [..., D] -> [..., D]; or None.
        dispatcher: None for the default one (`moesuite.nn.dispatch`).
        null: experts without an MLP, which the router chooses from beside `experts`; or None.
        default: stands in for the outputs of experts that do not serve a token; or None.

    Attributes:
        routing: of the last forward, null experts included, for statistics; replaced at every
            forward.
        mask: of the tokens of `routing`, [G, T]; None if all are real.
        stands_for: device whose default dispatcher runs, for a twin on the meta device; None for
            the device of the tokens.
    """

    def __init__(
        self,
        router: Router,
        experts: AnyExperts,
        channels_first: bool = False,
        in_decoder: bool = False,
        renormalise: bool = False,
        shared: nn.Module | None = None,
        dispatcher: Dispatcher | None = None,
        null: NullExperts | None = None,
        default: DefaultOutputs | None = None,
    ) -> None:
        super().__init__()
        self.router = router
        self.experts = experts
        self.channels_first = channels_first
        self.in_decoder = in_decoder
        self.renormalise = renormalise
        self.shared = shared
        self.dispatcher = dispatcher
        self.null = null
        self.default = default
        self.stands_for: torch.device | None = None
        self.context = RoutingContext()
        self.routing: Routing | None = None
        self.mask: Tensor | None = None
        self._inspect = Inspector()
        self._history = History()

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Route, dispatch, compute, combine."""
        if not torch.compiler.is_compiling() and x.numel() == 0:
            return x  # some models call a layer on those tokens that are of a kind, if any
        if x.ndim == 1:  # one token, as the linear layers that it replaces take it
            return self._tokens_last(x[None])[0]
        if self.channels_first:
            return self._tokens_last(x.movedim(1, -1)).movedim(-1, 1)
        return self._tokens_last(x)

    @property
    def shared_experts(self) -> int:
        """Number of experts that serve every token; that of a trained model's is not known: 0."""
        return self.shared.num_experts if isinstance(self.shared, SharedExperts) else 0

    @property
    def pool(self) -> int:
        """Number of experts that the router chooses from."""
        return self.experts.num_experts + (0 if self.null is None else self.null.num_experts)

    def executed(self, routing: Routing) -> Routing:
        """Return the part of a routing that experts compute: all but null experts."""
        return routing if self.null is None else routing.first(self.experts.num_experts)

    def dispatcher_for(self, routing: Routing, device: torch.device) -> Dispatcher:
        """Return the dispatcher that runs an executed routing of tokens on `device`."""
        if self.dispatcher is not None:
            return self.dispatcher
        device = device if self.stands_for is None else self.stands_for
        return default_dispatcher(routing, self.experts, device)

    def work(self, routing: Routing, device: torch.device) -> Work:
        """Count the rows that experts compute for a routing of tokens on `device`."""
        executed = self.executed(routing)
        return self.dispatcher_for(executed, device).work(executed)

    def _tokens_last(self, x: Tensor) -> Tensor:
        """Route [G, ..., D] or [N, D]; a forward that backward repeats leaves no trace."""
        again = self.context.recomputing()
        eager = not torch.compiler.is_compiling()
        start = self._history.start() if eager else 0
        side = self._history.recall() if again and eager else None
        if side is None:
            side = self.context.side(x.shape)
        if self.training and not again:
            self.router.advance()
            if self.default is not None:
                self.default.advance()
        tokens = x.reshape(*side.shape, x.shape[-1])
        routing = self._route(tokens, side)
        if not again:
            self._record(routing, side)
        elif eager and self.training and routing.losses and in_reentrant_backward():
            raise _without_gradient()
        y = self._computed(tokens, routing, self.training and not again)
        if eager and not again:
            self._history.remember(start, side, y)
        y = y.reshape(x.shape)
        return y if self.shared is None else y + self.shared(x)

    def _route(self, tokens: Tensor, side: Side) -> Routing:
        self.router.ids = side.ids
        # the meta device has no autocast, and a context is an obstacle to exporters
        autocast = not tokens.is_meta and torch.is_autocast_enabled(tokens.device.type)
        with torch.autocast(tokens.device.type, enabled=False) if autocast else nullcontext():
            routing = self.router(tokens.float(), side.mask)
            self._inspect(routing, tokens.shape, self.pool, self.router)
            routing = routing if self.null is None else self.null.muted(routing)
            return routing.renormalised() if self.renormalise else routing

    def _computed(self, tokens: Tensor, routing: Routing, measured: bool) -> Tensor:
        """Run the routed experts, and add what null and missing ones give."""
        executed, default = self.executed(routing), self.default
        dispatcher = self.dispatcher_for(executed, tokens.device)
        if default is None or not measured:
            y = dispatcher.forward(tokens, executed, self.experts)
        else:
            with default.listening(self.experts, executed):
                y = dispatcher.forward(tokens, executed, self.experts)
        y = y if default is None else default(y, executed)
        return y if self.null is None else self.null(y, tokens, routing)

    def _record(self, routing: Routing, side: Side) -> None:
        if torch.compiler.is_exporting():
            return
        self.routing, self.mask = routing, side.mask
        has_losses = self.training and bool(routing.losses)
        needs_scope = has_losses or side.mask is not None or side.ids is not None
        if (
            needs_scope
            and self.context.hides_gradient()
            and in_reentrant_forward()
            and any(parameter.requires_grad for parameter in self.parameters())
        ):
            raise _without_gradient() if has_losses else _without_side()
        if not has_losses or not _have_gradients(routing.losses.values()):
            return  # the host wants none here
        if self.context.scope is None and not torch.compiler.is_compiling():
            self.context.count(str(id(self)))
        self.context.losses.extend(routing.losses.items())

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles drop the last routing, which may hold an autograd graph."""
        return {**self.__dict__, "routing": None, "mask": None}


def _without_gradient() -> RuntimeError:
    return RuntimeError(
        "auxiliary losses would get no gradient under re-entrant activation checkpointing: "
        "checkpoint with use_reentrant=False"
    )


def _without_side() -> RuntimeError:
    return RuntimeError(
        "padding masks and token ids are not known to the second forward of re-entrant activation "
        "checkpointing: checkpoint with use_reentrant=False"
    )


def _have_gradients(losses: Iterable[Tensor]) -> bool:
    """Return whether losses can train anything."""
    if torch.compiler.is_compiling():  # which tensors have gradients is not known yet
        return torch.is_grad_enabled()
    return any(loss.requires_grad for loss in losses)


def moe_layers(model: nn.Module) -> Iterator[tuple[str, MoE]]:
    """Yield (name, layer) for every MoE layer of `model`, in its order."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, MoE))


@contextmanager
def limited_evaluation(model: nn.Module) -> Iterator[None]:
    """Within this context, routers that drop keep their training capacity in evaluation."""
    routers = [layer.router for _, layer in moe_layers(model)]
    for router in routers:
        router.limited = True
    try:
        yield
    finally:
        for router in routers:
            router.limited = False


def contexts(model: nn.Module) -> list[RoutingContext]:
    """Return the contexts of the MoE layers of `model`: one for each call of `moefy`."""
    return list({id(layer.context): layer.context for _, layer in moe_layers(model)}.values())


def unread_losses(contexts: Iterable[RoutingContext]) -> dict[str, Tensor]:
    """Return the unread auxiliary losses by name, weighted, summed over layers; mark them read."""
    sums: dict[str, Tensor] = {}
    for context in contexts:
        for name, loss in context.read():
            sums[name] = sums[name] + loss if name in sums else loss
    return sums


def aux_loss(model: nn.Module) -> Tensor:
    """Return the sum of all MoE layers' auxiliary losses since the last call; 0 if there are none.

    Add it to the task's loss.
    """
    losses = unread_losses(contexts(model)).values()
    return torch.stack(list(losses)).sum() if losses else torch.zeros(())
