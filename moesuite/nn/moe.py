"""The MoE layer = router + dispatcher + experts, and the state that a model's layers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.nn.dispatch import default_dispatcher
from moesuite.nn.dispatcher import Dispatcher, Work
from moesuite.nn.experts import AnyExperts
from moesuite.routing.forms import Routing
from moesuite.routing.router import Router
from moesuite.routing.validation import Inspector

UNREAD_LIMIT = 8  # training forwards with unread losses; more means that nobody reads them


@dataclass(frozen=True)
class Side:
    """Padding mask and ids of the tokens of one forward.

    Attributes:
        mask: [G, T], True for real tokens; None if all are.
        ids: [G, T], token ids if the model is called with them, else None.
    """

    mask: Tensor | None = None
    ids: Tensor | None = None


@dataclass
class RoutingContext:
    """What passes between a model and its MoE layers besides the layers' own arguments.

    A hook on the host model opens the context with the padding mask at each forward and closes it
    afterwards. Layers that run again while it is closed (activation checkpointing recomputes them
    in backward) read the same mask and do not add their losses twice.

    Attributes:
        side: the model's tokens; those of the encoder in an encoder-decoder.
        decoder: the decoder's tokens in an encoder-decoder.
        losses: auxiliary losses of the training forwards that `aux_loss` has not read yet.
    """

    side: Side = Side()
    decoder: Side | None = None
    losses: list[tuple[str, Tensor]] = field(default_factory=list)
    unread: int = 0
    is_open: bool = True
    with_grad: bool = False

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles start fresh, without the tensors of a running forward."""
        return RoutingContext().__dict__

    def begin(self, side: Side, training: bool, decoder: Side | None = None) -> None:
        """Open the context for one forward of the host model.

        Raises:
            RuntimeError: if the losses of many training forwards were never read: training would
                silently ignore them.
        """
        self.side = side
        self.decoder = decoder
        self.is_open = True
        self.with_grad = torch.is_grad_enabled()
        if self.losses and training and self.with_grad:
            self.unread += 1
            if self.unread > UNREAD_LIMIT:
                raise RuntimeError(
                    f"the auxiliary losses of {self.unread} training forwards were never read: "
                    "add `loss = loss + moesuite.aux_loss(model)` before `loss.backward()`"
                )

    def end(self) -> None:
        """Close the context after one forward of the host model."""
        self.is_open = False


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

    Attributes:
        routing: of the last forward, for statistics; replaced at every forward.
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
    ) -> None:
        super().__init__()
        self.router = router
        self.experts = experts
        self.channels_first = channels_first
        self.in_decoder = in_decoder
        self.renormalise = renormalise
        self.shared = shared
        self.dispatcher = dispatcher
        self.stands_for: torch.device | None = None
        self.context = RoutingContext()
        self.routing: Routing | None = None
        self._inspect = Inspector()

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Route, dispatch, compute, combine."""
        if self.channels_first:
            return self._tokens_last(x.movedim(1, -1)).movedim(-1, 1)
        return self._tokens_last(x)

    @property
    def side(self) -> Side:
        """Padding mask and ids of this layer's tokens."""
        decoder = self.context.decoder
        return decoder if self.in_decoder and decoder is not None else self.context.side

    def dispatcher_for(self, routing: Routing, device: torch.device) -> Dispatcher:
        """Return the dispatcher that runs a routing of tokens on `device`."""
        if self.dispatcher is not None:
            return self.dispatcher
        device = device if self.stands_for is None else self.stands_for
        return default_dispatcher(routing, self.experts, device)

    def work(self, routing: Routing, device: torch.device) -> Work:
        """Count the rows that experts compute for a routing of tokens on `device`."""
        return self.dispatcher_for(routing, device).work(routing)

    def _tokens_last(self, x: Tensor) -> Tensor:
        mask = self.side.mask
        if x.ndim == 2 and mask is not None:  # some hosts flatten their sequences before the MLP
            tokens = x.unflatten(0, mask.shape)
        elif x.ndim == 2:
            tokens = x.unsqueeze(0)
        else:
            tokens = x.flatten(1, -2)
        if mask is not None and mask.shape != tokens.shape[:2]:
            raise UserError(
                f"padding mask of shape {tuple(mask.shape)} for tokens of shape "
                f"{tuple(tokens.shape)}: expected one value per token, [groups, tokens]"
            )
        if self.training and self.context.is_open:
            self.router.advance()
        self.router.ids = self.side.ids
        # the meta device has no autocast, and a context is an obstacle to exporters
        autocast = not x.is_meta and torch.is_autocast_enabled(x.device.type)
        with torch.autocast(x.device.type, enabled=False) if autocast else nullcontext():
            routing = self.router(tokens.float(), mask)
            self._inspect(routing, tokens.shape, self.experts.num_experts, self.router)
            routing = routing.renormalised() if self.renormalise else routing
        self._record(routing)
        dispatcher = self.dispatcher_for(routing, tokens.device)
        y = dispatcher.forward(tokens, routing, self.experts).reshape(x.shape)
        return y if self.shared is None else y + self.shared(x)

    def _record(self, routing: Routing) -> None:
        if not self.context.is_open or torch.compiler.is_exporting():
            return
        self.routing = routing
        if self.training and routing.losses:
            if self.context.with_grad and not torch.is_grad_enabled():
                raise RuntimeError(
                    "auxiliary losses would get no gradient under re-entrant activation "
                    "checkpointing: checkpoint with use_reentrant=False"
                )
            self.context.losses.extend(routing.losses.items())

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles drop the last routing, which may hold an autograd graph."""
        return {**self.__dict__, "routing": None}


def moe_layers(model: nn.Module) -> Iterator[tuple[str, MoE]]:
    """Yield (name, layer) for every MoE layer of `model`, in its order."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, MoE))


@dataclass(frozen=True)
class RoutingWeights:
    """Output of a model whose routing is its representation: [G, T, layers · E]."""

    last_hidden_state: Tensor


def routing_weights(model: nn.Module) -> Tensor:
    """Return each token's weight of each expert in the last forward: [G, T, layers · E].

    Raises:
        UserError: for a model without MoE layers.
    """
    weights = [
        layer.routing.dense()[1].sum(dim=-1)
        for _, layer in moe_layers(model)
        if layer.routing is not None
    ]
    if not weights:
        raise UserError(
            "routing weights of a model without MoE layers; expected any router but dense"
        )
    return torch.cat(weights, dim=-1)


def contexts(model: nn.Module) -> list[RoutingContext]:
    """Return the contexts of the MoE layers of `model`: one for each call of `moefy`."""
    return list({id(layer.context): layer.context for _, layer in moe_layers(model)}.values())


def unread_losses(contexts: Iterable[RoutingContext]) -> dict[str, Tensor]:
    """Return the unread auxiliary losses by name, weighted, summed over layers; mark them read."""
    sums: dict[str, Tensor] = {}
    for context in contexts:
        for name, loss in context.losses:
            sums[name] = sums[name] + loss if name in sums else loss
        context.losses.clear()
        context.unread = 0
    return sums


def aux_loss(model: nn.Module) -> Tensor:
    """Return the sum of all MoE layers' auxiliary losses since the last call; 0 if there are none.

    Add it to the task's loss.
    """
    losses = unread_losses(contexts(model)).values()
    return torch.stack(list(losses)).sum() if losses else torch.zeros(())
