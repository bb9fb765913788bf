"""Balanced assignment as optimal transport: plans with fixed masses of tokens and experts.

Marginals of Liu et al., "Routers in Vision Mixture of Experts" (2024),
https://arxiv.org/abs/2401.15969: 1 for each real token, (real tokens)/E for each expert, 0 for
padding. Plans carry no gradient: they decide the dispatch, and gates are the combine weights.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BETAS = (0.9, 0.999)  # of Adam


@torch.no_grad()
def sinkhorn(
    logits: Float[Tensor, "G T E"], mask: Bool[Tensor, "G T"] | None = None, iterations: int = 20
) -> Float[Tensor, "G T E"]:
    """Return the entropic plan of cost -logits, ε = 1, after a fixed number of Sinkhorn iterations.

    Cuturi (2013), https://arxiv.org/abs/1306.0895, in the log domain. Experts are scaled first and
    tokens last, so that each token's mass is exact for any number of iterations.

    Args:
        logits: finite.
        mask: True for real tokens; None: all are.
        iterations: >= 1.
    """
    log_kernel = logits.float()
    real = torch.ones_like(log_kernel[..., 0], dtype=torch.bool) if mask is None else mask
    log_share = (
        real.sum(dim=1, keepdim=True).clamp(min=1).log() - torch.tensor(logits.shape[-1]).log()
    )  # [G, 1]
    padding = torch.zeros_like(log_kernel[..., 0]).masked_fill(
        ~real, torch.finfo(torch.float32).min / 2
    )
    tokens = padding  # potentials: of tokens [G, T], below of experts [G, E]
    for _ in range(iterations):
        experts = log_share - (log_kernel + tokens[..., None]).logsumexp(dim=1)
        tokens = padding - (log_kernel + experts[:, None]).logsumexp(dim=2)
    return (
        (log_kernel + tokens[..., None] + experts[:, None]).exp().masked_fill(~real[..., None], 0.0)
    )


def sparse_simplex(
    points: Float[Tensor, "*batch N"], k: int, limits: Int[Tensor, "*sizes"] | None = None
) -> Float[Tensor, "*batch N"]:
    """Return the Euclidean projection of each row onto the k-sparse probability simplex.

    Exact: take the `k` largest entries and project those (Kyrillidis et al., "Sparse projections
    onto the simplex", 2013, https://arxiv.org/abs/1206.1529). `limits` allows some rows fewer than
    `k` entries; its shape broadcasts to [*batch, 1].
    """
    values, indices = points.topk(k, dim=-1)  # descending
    ranks = torch.arange(1, k + 1, device=points.device)
    if limits is not None:
        values = values.masked_fill(ranks > limits, -torch.inf)
    thresholds = (values.cumsum(dim=-1) - 1) / ranks
    support = (values > thresholds).sum(dim=-1, keepdim=True).clamp(min=1)
    projected = (values - thresholds.gather(-1, support - 1)).clamp(min=0)
    return torch.zeros_like(points).scatter(-1, indices, projected)


@torch.no_grad()
def sparse_transport(
    costs: Float[Tensor, "G J I"],
    mass: Float[Tensor, "G I"],
    shares: Float[Tensor, "G J"],
    k: int,
    iterations: int = 20,
    lr: float = 1e-2,
    limits: Int[Tensor, " G"] | None = None,
) -> tuple[Float[Tensor, "G J I"], Float[Tensor, "G I"]]:
    """Return the plan, at most `k` entries for each j, and α of sparsity-constrained transport.

    Liu, Puigcerver and Blondel, "Sparsity-constrained optimal transport" (2023),
    https://arxiv.org/abs/2209.15466, with L2 regularisation γ = 1: maximise the semi-dual
    Σ_i α_i·mass_i - Σ_j Ω*_j(α - cost_j) by Adam from α = 0. Given α, the best plan of j is share_j
    times the k-sparse projection of (α - cost_j) / share_j onto the simplex.

    The semi-dual is concave, with kinks where the k largest entries change (for k = 1 it is
    piecewise linear). Steps of constant size cross kinks instead of stopping at them: the value is
    not monotone, and from a start closer to the maximum than a step the end may lie slightly lower.
    As in the official code, the plan is that of the last step, not of the best one.

    Not in the paper: all `iterations` are done, where the official code stops early at a gradient
    norm of 1e-3.

    Args:
        costs: of moving i's mass to j; +inf entries are not allowed, use a large cost for padding.
        mass: of each i, >= 0.
        shares: of each j, >= 0.
        k: entries per j, 1 to I.
        iterations: >= 1; the plan does not become more feasible with many more.
        lr: step size of Adam, > 0.
        limits: entries allowed in each group, where fewer than `k`.
    """
    at_most = None if limits is None else limits[:, None, None]
    potential = mean = square = torch.zeros_like(mass)
    for step in range(1, iterations + 1):
        gradient = mass - _best_plan(potential, costs, shares, k, at_most).sum(dim=1)
        # Adam as torch.optim has it, to the last bit on a CPU; that one is in no compiled graph
        mean = mean.lerp(-gradient, 1 - BETAS[0])
        square = (square * BETAS[1]).addcmul(gradient, gradient, value=1 - BETAS[1])
        root = square.sqrt() / (1 - BETAS[1] ** step) ** 0.5 + 1e-8
        potential = potential.addcdiv(mean, root, value=-lr / (1 - BETAS[0] ** step))
    return _best_plan(potential, costs, shares, k, at_most), potential


def _best_plan(
    potential: Tensor, costs: Tensor, shares: Tensor, k: int, limits: Tensor | None = None
) -> Tensor:
    share = shares[..., None]
    return share * sparse_simplex((potential[:, None] - costs) / share.clamp(min=1e-9), k, limits)


def semi_dual(
    potential: Float[Tensor, "G I"],
    costs: Float[Tensor, "G J I"],
    mass: Float[Tensor, "G I"],
    shares: Float[Tensor, "G J"],
    k: int,
) -> Float[Tensor, " G"]:
    """Return the objective of `sparse_transport`, a lower bound of the regularised cost."""
    plan = _best_plan(potential, costs, shares, k)
    conjugates = ((potential[:, None] - costs) * plan - 0.5 * plan**2).sum(dim=(1, 2))
    return (potential * mass).sum(dim=1) - conjugates


@torch.no_grad()
def assignment(scores: Float[Tensor, "T E"], capacity: int) -> Int[Tensor, " T"]:
    """Return the expert of each token that maximises Σ score, with at most `capacity` tokens each.

    E means no expert, where there are more tokens than slots. Solved exactly by scipy's linear
    assignment.
    """
    from scipy.optimize import linear_sum_assignment

    length, num_experts = scores.shape
    slots = scores.detach().double().cpu().repeat_interleave(capacity, dim=1).numpy()
    rows, columns = linear_sum_assignment(slots, maximize=True)
    experts = torch.full((length,), num_experts)
    experts[torch.from_numpy(rows)] = torch.from_numpy(columns) // capacity
    return experts.to(scores.device)
