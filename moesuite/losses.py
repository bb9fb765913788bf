"""Auxiliary losses of routers: pure functions of raw logits, in float32, blind to padding.

balance: E · Σ_e mean gate_e · fraction_e (Fedus et al., "Switch Transformers", 2021, https://arxiv.org/abs/2101.03961,
equation 4), with fraction_e the share of routed pairs, so that a perfectly uniform router scores 1 for every K.
importance and load: squared coefficient of variation of summed gates, and of the expected number of tokens (Shazeer et
al., "Outrageously Large Neural Networks", 2017, https://arxiv.org/abs/1701.06538, equations 6 to 11); 0 when uniform.
entropy: of the gates (Huang et al., 2024, https://arxiv.org/abs/2403.07652), in nats.
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


def entropy_loss(logits: Float[Tensor, "G T E"], mask: Bool[Tensor, "G T"] | None = None) -> Float[Tensor, ""]:
    """Return the mean entropy of real tokens' gates, in nats: ln E when uniform, 0 when certain."""
    logs = logits.float().log_softmax(dim=-1)
    entropy = -(logs.exp() * logs).sum(dim=-1)
    return entropy.mean() if mask is None else (entropy * mask).sum() / mask.sum().clamp(min=1)


def importance_loss(
    gates: Float[Tensor, "G T K"],
    experts: Int[Tensor, "G T K"],
    num_experts: int,
    mask: Bool[Tensor, "G T"] | None = None,
) -> Float[Tensor, ""]:
    """Return CV² of the experts' summed gates.

    Args:
        gates, experts: the K choices of each token.
        num_experts: E.
        mask: True for real tokens; None: all are.
    """
    gates = gates if mask is None else gates * mask[..., None]
    return _variation(gates.new_zeros(num_experts).index_add(0, experts.flatten(), gates.flatten()))


def load_loss(
    logits: Float[Tensor, "G T E"],
    noisy: Float[Tensor, "G T E"],
    deviation: Float[Tensor, "G T E"],
    k: int,
    mask: Bool[Tensor, "G T"] | None = None,
) -> Float[Tensor, ""]:
    """Return CV² of Σ_t P(e is among the top K of t if its own noise were drawn again).

    Args:
        logits: without noise.
        noisy: with noise.
        deviation: of the noise, > 0.
        k: experts per token; k = E gives 0, every expert being certain.
        mask: True for real tokens; None: all are.
    """
    if k >= logits.shape[-1]:
        return (logits * 0.0).sum()
    best = noisy.topk(k + 1, dim=-1).values
    inside = noisy > best[..., k:]
    others = torch.where(inside, best[..., k:], best[..., k - 1 : k])  # the K-th best of the other experts
    chance = torch.special.ndtr((logits - others) / deviation)
    return _variation((chance if mask is None else chance * mask[..., None]).sum(dim=(0, 1)))


def _variation(values: Float[Tensor, " E"]) -> Float[Tensor, ""]:
    return values.var(correction=0) / (values.mean() ** 2 + 1e-10)
