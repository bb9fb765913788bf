"""Auxiliary losses of routers: pure functions of raw logits, in float32, blind to padding.

balance: E · Σ_e mean gate_e · fraction_e (Fedus et al., "Switch Transformers", 2021,
https://arxiv.org/abs/2101.03961, equation 4), with fraction_e the share of routed pairs, so that a
perfectly uniform router scores 1 for every K. sequence: the same of every sequence by itself, with
scores of another kind (DeepSeek-AI, "DeepSeek-V3", 2024, https://arxiv.org/abs/2412.19437,
equations 17 to 20). importance and load: squared coefficient of variation of summed gates, and of
the expected number of tokens (Shazeer et al., "Outrageously Large Neural Networks", 2017,
https://arxiv.org/abs/1701.06538, equations 6 to 11); 0 when uniform. entropy: of the gates (Huang
et al., 2024, https://arxiv.org/abs/2403.07652), in nats. z: mean of logsumexp² (Zoph et al.,
"ST-MoE", 2022, https://arxiv.org/abs/2202.08906, equation 5).

Means and shares are pooled over the batch, by default on all processes; they are not averages of
the losses of single sequences or processes. A router passes its `scope`, which knows
`balance_scope` (see `moesuite.routing.scope`). Where a router adds noise to its logits, the balance
loss takes the gates of the logits without noise.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moesuite.routing.assignment import top
from moesuite.routing.scope import ONE_BATCH, Scope


def balance_loss(
    logits: Float[Tensor, "G T E"],
    experts: Int[Tensor, "G T K"],
    mask: Bool[Tensor, "G T"] | None = None,
    scope: Scope = ONE_BATCH,
) -> Float[Tensor, ""]:
    """Return the imbalance of choices: 1 if uniform, E if all tokens choose one with certainty.

    Args:
        logits: raw router logits, not probabilities.
        experts: the K experts that each token chose, before any capacity.
        mask: True for real tokens; None: all are.
        scope: over which tokens; a router's own in training.
    """
    return balance_of(logits.float().softmax(dim=-1), experts, mask, scope)


def sequence_loss(
    scores: Float[Tensor, "G T E"],
    k: int,
    mask: Bool[Tensor, "G T"] | None = None,
    training: bool = False,
) -> Float[Tensor, ""]:
    """Return DeepSeek-V3's complementary balance loss, of each sequence by itself and averaged.

    Choices are the top `k` by scores as they are, without bias; gates are scores divided by their
    sum over all experts.

    Args:
        scores: >= 0, of sigmoid or softmax.
        k: experts per token.
        mask: True for real tokens; None: all are.
        training: whether the other processes make the same pass.
    """
    gates = scores / scores.sum(dim=-1, keepdim=True).clamp(min=1e-20)
    return balance_of(gates, top(scores, k)[1], mask, Scope("sequence", training))


def balance_of(
    gates: Float[Tensor, "G T E"],
    experts: Int[Tensor, "G T K"],
    mask: Bool[Tensor, "G T"] | None = None,
    scope: Scope = ONE_BATCH,
) -> Float[Tensor, ""]:
    """Return the balance loss of gates that sum to 1 in each token; see `balance_loss`."""
    real = _real(gates[..., 0], mask)
    gate_sums, chosen, count = scope.join(
        scope.over_tokens(gates * real[..., None]),
        scope.over_pairs(experts, real[..., None].expand(experts.shape), gates.shape[-1]),
        scope.over_tokens(real),
    )
    tokens = count.clamp(min=1)[:, None]
    mean_gate, fraction = gate_sums / tokens, chosen / (tokens * experts.shape[-1])
    return scope.mean(gates.shape[-1] * (mean_gate * fraction).sum(dim=-1), count)


def z_loss(
    logits: Float[Tensor, "G T E"],
    mask: Bool[Tensor, "G T"] | None = None,
    scope: Scope = ONE_BATCH,
) -> Float[Tensor, ""]:
    """Return the mean over real tokens of logsumexp(logits)²; (ln E)² when all logits are 0."""
    return mean_of_tokens(logits.float().logsumexp(dim=-1) ** 2, mask, scope)


def entropy_loss(
    logits: Float[Tensor, "G T E"],
    mask: Bool[Tensor, "G T"] | None = None,
    scope: Scope = ONE_BATCH,
) -> Float[Tensor, ""]:
    """Return the mean entropy of real tokens' gates, in nats: ln E when uniform, 0 when certain."""
    logs = logits.float().log_softmax(dim=-1)
    return mean_of_tokens(-(logs.exp() * logs).sum(dim=-1), mask, scope)


def mean_of_tokens(
    values: Float[Tensor, "G T"], mask: Bool[Tensor, "G T"] | None, scope: Scope
) -> Float[Tensor, ""]:
    """Return the mean over the real tokens of each unit of `scope`, averaged over units; else 0."""
    real = _real(values, mask)
    sums, count = scope.join(scope.over_tokens(values * real), scope.over_tokens(real))
    return scope.mean(sums / count.clamp(min=1), count)


def importance_loss(
    gates: Float[Tensor, "G T K"],
    experts: Int[Tensor, "G T K"],
    num_experts: int,
    mask: Bool[Tensor, "G T"] | None = None,
    scope: Scope = ONE_BATCH,
) -> Float[Tensor, ""]:
    """Return CV² of the experts' summed gates.

    Args:
        gates, experts: the K choices of each token.
        num_experts: E.
        mask: True for real tokens; None: all are.
        scope: over which tokens; a router's own in training.
    """
    real = _real(gates[..., 0], mask)
    gates = gates if mask is None else gates * mask[..., None]
    sums, count = scope.join(scope.over_pairs(experts, gates, num_experts), scope.over_tokens(real))
    return scope.mean(_variation(sums), count)


def load_loss(
    logits: Float[Tensor, "G T E"],
    noisy: Float[Tensor, "G T E"],
    deviation: Float[Tensor, "G T E"],
    k: int,
    mask: Bool[Tensor, "G T"] | None = None,
    scope: Scope = ONE_BATCH,
) -> Float[Tensor, ""]:
    """Return CV² of Σ_t P(e is among the top K of t, if its noise were drawn again).

    Args:
        logits: without noise.
        noisy: with noise.
        deviation: of the noise, > 0.
        k: experts per token; k = E gives 0, as every expert is certain.
        mask: True for real tokens; None: all are.
        scope: over which tokens; a router's own in training.
    """
    if k >= logits.shape[-1]:
        return (logits * 0.0).sum()
    best = noisy.topk(k + 1, dim=-1).values
    inside = noisy > best[..., k:]
    # the K-th best of the other experts
    others = torch.where(inside, best[..., k:], best[..., k - 1 : k])
    real = _real(logits[..., 0], mask)
    chance = torch.special.ndtr((logits - others) / deviation) * real[..., None]
    sums, count = scope.join(scope.over_tokens(chance), scope.over_tokens(real))
    return scope.mean(_variation(sums), count)


def _real(like: Float[Tensor, "G T"], mask: Bool[Tensor, "G T"] | None) -> Float[Tensor, "G T"]:
    return torch.ones_like(like) if mask is None else mask.to(like)


def _variation(values: Float[Tensor, "U E"]) -> Float[Tensor, " U"]:
    return values.var(dim=-1, correction=0) / (values.mean(dim=-1) ** 2 + 1e-10)
