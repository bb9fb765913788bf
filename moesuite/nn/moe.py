"""MoE = router + dispatch + experts + combine, and the small state that the layers of one model share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.nn.dispatch import AnyExperts, apply_experts
from moesuite.routing.forms import Routing
from moesuite.routing.router import Router
from moesuite.routing.validation import Inspector

UNREAD_LIMIT = 8  # training forwards whose losses may wait; more means that nobody reads them


@dataclass(frozen=True)
class Side:
    """What is known of the tokens that a model was called with.

    Attributes:
        mask: [G, T], True for real tokens; None: all are.
        ids: [G, T], token ids where the model is called with them; else None.
    """

    mask: Tensor | None = None
    ids: Tensor | None = None


@dataclass
class RoutingContext:
    """What passes between a model and its MoE layers beside its own arguments.

    A hook on the host model opens the context with the padding mask at each forward and closes it
    after. Layers that run again while it is closed (activation checkpointing recomputes them in
    backward) read the same mask and add no loss a second time.

    Attributes:
        side: of the model's tokens; of the encoder's where there is a decoder beside it.
        decoder: of the decoder's tokens, in an encoder-decoder.
        losses: auxiliary losses of the training forwards that `aux_loss` has not read yet.
    """

    side: Side = Side()
    decoder: Side | None = None
    losses: list[tuple[str, Tensor]] = field(default_factory=list)
    unread: int = 0
    is_open: bool = True
    with_grad: bool = False

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles start fresh: tensors of a running forward do not belong to them."""
        return RoutingContext().__dict__

    def begin(self, side: Side, training: bool, decoder: Side | None = None) -> None:
        """Open the context for one forward of the host model.

        Raises:
            RuntimeError: if the losses of many training forwards were never read: training would
                silently go without.
        """
        self.side, self.decoder, self.is_open, self.with_grad = (
            side,
            decoder,
            True,
            torch.is_grad_enabled(),
        )
        if self.losses and training and self.with_grad:
            self.unread += 1
            if self.unread > UNREAD_LIMIT:
                raise RuntimeError(
                    f"the auxiliary losses of {self.unread} training forwards were never read: add "
                    "`loss = loss + moesuite.aux_loss(model)` before `loss.backward()`"
                )

    def end(self) -> None:
        """Close the context after one forward of the host model."""
        self.is_open = False


class MoE(nn.Module):
    """A drop-in for an MLP: [G, ..., D] -> [G, ..., D], the first axis being groups and those between tokens.

    Args:
        router: decides; sees tokens in float32.
        experts: compute.
        channels_first: tokens come as [G, D, ...], as in convolutional models.
        in_decoder: stands in the decoder of an encoder-decoder.
        renormalise: divide the combine weights of each token by their sum.
        shared: what every token passes beside the routed experts, [..., D] -> [..., D]; None:
            nothing.

    Attributes:
        routing: the last decision, for statistics; replaced at every forward.
    """

    def __init__(
        self,
        router: Router,
        experts: AnyExperts,
        channels_first: bool = False,
        in_decoder: bool = False,
        renormalise: bool = False,
        shared: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.router, self.experts = router, experts
        self.channels_first, self.in_decoder, self.renormalise = (
            channels_first,
            in_decoder,
            renormalise,
        )
        self.shared = shared
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
        """What is known of the tokens of this forward."""
        decoder = self.context.decoder
        return decoder if self.in_decoder and decoder is not None else self.context.side

    def _tokens_last(self, x: Tensor) -> Tensor:
        mask = self.side.mask
        if x.ndim == 2 and mask is not None:  # some hosts flatten their sequences before the MLP
            tokens = x.unflatten(0, mask.shape)
        else:
            tokens = x.unsqueeze(0) if x.ndim == 2 else x.flatten(1, -2)
        if mask is not None and mask.shape != tokens.shape[:2]:
            raise UserError(
                f"padding mask of shape {tuple(mask.shape)} for tokens of shape {tuple(tokens.shape)}: "
                "allowed is one value per token, [groups, tokens]"
            )
        if self.training and self.context.is_open:
            self.router.advance()
        self.router.ids = self.side.ids
        # the meta device knows no autocast
        with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
            routing = self.router(tokens.float(), mask)
            self._inspect(routing, tokens.shape, self.experts.num_experts, self.router)
            routing = routing.renormalised() if self.renormalise else routing
        self._keep(routing)
        y = apply_experts(tokens, routing, self.experts).reshape(x.shape)
        return y if self.shared is None else y + self.shared(x)

    def _keep(self, routing: Routing) -> None:
        if not self.context.is_open:
            return
        self.routing = routing
        if self.training and routing.losses:
            if self.context.with_grad and not torch.is_grad_enabled():
                raise RuntimeError(
                    "auxiliary losses would get no gradient under re-entrant activation checkpointing: "
                    "checkpoint with use_reentrant=False"
                )
            self.context.losses.extend(routing.losses.items())

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles leave the last decision behind: it may hang on an autograd graph."""
        return {**self.__dict__, "routing": None}


def moe_layers(model: nn.Module) -> Iterator[tuple[str, MoE]]:
    """Yield (name, layer) for every MoE layer of `model`, in its order."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, MoE))


@dataclass(frozen=True)
class RoutingWeights:
    """What stands in the place of a model's output where its routing is the representation: [G, T, layers · E]."""

    last_hidden_state: Tensor


def routing_weights(model: nn.Module) -> Tensor:
    """Return the weight of each expert for each token in the last forward, layers side by side: [G, T, layers · E].

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
            "routing weights of a model without MoE layers; allowed: any router but dense"
        )
    return torch.cat(weights, dim=-1)


def contexts(model: nn.Module) -> list[RoutingContext]:
    """Return the contexts of the MoE layers of `model`: one for each `moefy`."""
    return list({id(layer.context): layer.context for _, layer in moe_layers(model)}.values())


def unread_losses(contexts: Iterable[RoutingContext]) -> dict[str, Tensor]:
    """Return the unread auxiliary losses by name, weighted and summed over layers, and mark them as read."""
    sums: dict[str, Tensor] = {}
    for context in contexts:
        for name, loss in context.losses:
            sums[name] = sums[name] + loss if name in sums else loss
        context.losses.clear()
        context.unread = 0
    return sums


def aux_loss(model: nn.Module) -> Tensor:
    """Return the auxiliary losses of all MoE layers since the last call, to be added to the task's loss; 0 if none."""
    losses = unread_losses(contexts(model)).values()
    return torch.stack(list(losses)).sum() if losses else torch.zeros(())
