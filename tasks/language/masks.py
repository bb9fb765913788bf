"""Hidden tokens of masked language modelling (BERT)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from moesuite.tasks.language.packed import IGNORED

# shares of masked tokens that become random ones, or stay (Devlin et al. 2018, section 3.1)
RANDOM = 0.1
KEPT = 0.1


def hide(
    tokens: Int[Tensor, "B T"],
    labels: Int[Tensor, "B T"],
    seeds: Sequence[int],
    share: float,
    vocabulary: int,
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Hide a share of the tokens, by the seed of each sequence; only hidden ones are scored.

    Args:
        tokens: of the text.
        labels: targets, `IGNORED` where none is scored.
        seeds: of each sequence.
        share: of tokens that are hidden, in (0, 1).
        vocabulary: number of tokens of the tokenizer; the mask has this number.

    Returns:
        Inputs and labels.
    """
    draws = [
        torch.rand(3, tokens.shape[1], generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    chosen, kind, other = torch.stack(draws, dim=1)  # [B, T] each
    hidden = chosen < share
    inputs = tokens.masked_fill(hidden & (kind >= RANDOM + KEPT), vocabulary)
    inputs = torch.where(hidden & (kind < RANDOM), (other * vocabulary).long(), inputs)
    return inputs, labels.masked_fill(~hidden, IGNORED)
