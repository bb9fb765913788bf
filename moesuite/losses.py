"""Auxiliary losses of routers: pure functions of raw logits, in float32, blind to padding.

balance: E · Σ_e mean gate_e · fraction_e (Fedus et al., "Switch Transformers", 2021, https://arxiv.org/abs/2101.03961,
equation 4), with fraction_e the share of routed pairs, so that a perfectly uniform router scores 1 for every K.
z: mean of logsumexp² (Zoph et al., "ST-MoE", 2022, https://arxiv.org/abs/2202.08906, equation 5).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def balance_loss(
    logits: Float[Tensor, "G T E"], experts: Int[Tensor, "G T K"], mask: Bool[Tensor, "G T"] | None = None
) -> Float[Tensor, ""]:
    """Return how unevenly tokens choose experts: 1 when uniform, E when all choose one with certainty.

    Args:
        logits: raw router logits, not probabilities.
        experts: the K experts that each token chose, before any capacity.
        mask: True for real tokens; None: all are.
    """
    gates = logits.float().softmax(dim=-1)
    real = torch.ones_like(gates[..., 0]) if mask is None else mask.to(gates)
    count = real.sum().clamp(min=1)
    mean_gate = (gates * real[..., None]).sum(dim=(0, 1)) / count
    chosen = real[..., None].expand(experts.shape).flatten()
    fraction = torch.zeros_like(mean_gate).index_add(0, experts.flatten(), chosen) / (count * experts.shape[-1])
    return logits.shape[-1] * (mean_gate * fraction).sum()


def z_loss(logits: Float[Tensor, "G T E"], mask: Bool[Tensor, "G T"] | None = None) -> Float[Tensor, ""]:
    """Return the mean over real tokens of logsumexp(logits)²; (ln E)² when all logits are 0."""
    squared = logits.float().logsumexp(dim=-1) ** 2
    if mask is None:
        return squared.mean()
    return (squared * mask).sum() / mask.sum().clamp(min=1)
