"""Options that the measurements of one layer share: its sizes."""

from __future__ import annotations

import itertools

from pydantic import Field, PositiveFloat, PositiveInt

from moesuite.benchmarks.speed.contestants import Size
from moesuite.config.cli import Options

LAYERS = "routers and peers; routers, peers: all of them"


class SizeOptions(Options):
    """Sizes of a layer, and how long each is measured."""

    experts: list[PositiveInt] = Field([8, 64], min_length=1, description="numbers of experts")
    groups: list[PositiveInt] = Field([16], min_length=1, description="numbers of groups")
    tokens: int = Field(196, ge=1, description="tokens of a group")
    dim: int = Field(384, ge=1, description="width of a token")
    hidden: int = Field(1536, ge=1, description="width of the hidden layer of the dense MLP")
    seconds: PositiveFloat = Field(20, description="of each measurement")

    def sizes(self) -> list[Size]:
        """Return every combination of the numbers of groups and experts."""
        return [
            Size(groups, self.tokens, self.dim, self.hidden, num_experts)
            for groups, num_experts in itertools.product(self.groups, self.experts)
        ]
