"""Routers whose routings have the wrong form, and words of the one line that says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from moesuite.routing.forms import EMPTY, RaggedRouting, SlotRouting, SoftRouting
from moesuite.routing.router import LayerSpec, Router


class Malformed(Router):
    """The first expert reads every token; a subclass spoils that."""

    causal = True
    bounded = False

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return self.spoil(self.slots(x), x)

    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return routing

    def slots(self, x: Tensor) -> SlotRouting:
        groups, length, _ = x.shape
        tokens = torch.full((groups, self.spec.num_experts, length), EMPTY)
        tokens[:, 0] = torch.arange(length)
        return SlotRouting(tokens, (tokens >= 0).float(), length)

    def ragged(self, x: Tensor, **changed: Any) -> RaggedRouting:
        groups, length, _ = x.shape
        pairs = torch.arange(groups * length)
        none = torch.zeros_like(pairs)
        return replace(
            RaggedRouting(
                pairs, none, torch.ones(len(pairs)), groups, length, self.spec.num_experts
            ),
            **changed,
        )


class NoRouting(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return routing.dense()


class NothingAtAll(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return None


class TokenBeyond(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, tokens=torch.where(routing.tokens == 3, x.shape[1], routing.tokens))


class TokenBelow(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, tokens=routing.tokens - 1)


class ExpertBeyond(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return self.ragged(x, experts=torch.full((len(x) * x.shape[1],), self.spec.num_experts))


class PairBeyond(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return self.ragged(x, tokens=torch.arange(1, 1 + len(x) * x.shape[1]))


class WrongShape(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, tokens=routing.tokens[:, :1], weights=routing.weights[:, :1])


class WeightsOfAnotherShape(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, weights=routing.weights[..., :1])


class SoftOfTwoAxes(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        gates = torch.ones(*x.shape[:2], self.spec.num_experts)
        return SoftRouting(gates, gates)


class IntegerWeights(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, weights=(routing.tokens >= 0).long())


class DoubleWeights(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, weights=routing.weights.double())


class FloatTokens(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, tokens=routing.tokens.float())


class LossOfManyValues(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, losses={"balance": x.sum(dim=(1, 2))})


class LossThatIsANumber(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, losses={"balance": 0.5})


class LossesInAList(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, losses=[x.sum()])


class LossByANumber(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, losses={1: x.mean()})


class WeightOfNoToken(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        return replace(routing, weights=torch.ones_like(routing.weights))


class Raises(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


class RaisesWithOneExpert(Malformed):
    bounded = True

    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        if self.spec.num_experts == 1:
            raise RuntimeError("a choice of one")
        return routing


class RaisesForOneToken(Malformed):
    def spoil(self, routing: SlotRouting, x: Tensor) -> Any:
        if x.shape[1] == 1:
            raise RuntimeError("a mean of one")
        return routing


class RaisesForPadding(Malformed):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        if mask is not None:
            raise RuntimeError("a mask")
        return self.slots(x)


class RaisesAsItIsBuilt(Malformed):
    def __init__(self, spec: LayerSpec) -> None:
        super().__init__(spec)
        raise RuntimeError("no such file")


FORMS = {  # the first four are run too
    "LossByANumber": "returns a loss by the name 1 of type int; allowed: a string",
    "WeightOfNoToken": "returns a weight of 1 in an empty slot (token -1); allowed: 0",
    "NoRouting": "returns a tuple; allowed: a SoftRouting, SlotRouting or RaggedRouting",
    "TokenBeyond": "returns a token index of",
    "DoubleWeights": "returns weights of torch.float64; allowed: float32",
    "LossOfManyValues": "returns the loss 'balance' of shape",
    "NothingAtAll": "returns a NoneType; allowed: a SoftRouting",
    "TokenBelow": "returns a token index of -2; allowed: EMPTY (-1) or 0 to T-1",
    "ExpertBeyond": "returns an expert index of",
    "PairBeyond": "allowed: 0 to G·T-1 (tokens are numbered across groups)",
    "WrongShape": "allowed: [G, E, C] with G=",
    "WeightsOfAnotherShape": "allowed: the shape of tokens",
    "SoftOfTwoAxes": "allowed: [G, T, E, C] with G=",
    "IntegerWeights": "returns weights of torch.int64; allowed: float32",
    "FloatTokens": "returns tokens of torch.float32; allowed: int64",
    "LossThatIsANumber": (
        "returns the loss 'balance' of type float; allowed: a float tensor of shape ()"
    ),
    "LossesInAList": "returns losses of type list; allowed: a mapping of names to scalar tensors",
}
