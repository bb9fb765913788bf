"""Metrics of language modelling: means over the scored targets of a split, and leaks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection

from moesuite.task import Lookahead
from moesuite.tasks.language.packed import IGNORED

ROUNDING = 1e-4  # of an output's largest value: other sizes of matrix products round otherwise


class MeanLoss(Metric):
    """Mean loss in nats per target, times `scale`; or its exponential, the perplexity."""

    total: Tensor
    count: Tensor

    def __init__(self, scale: float = 1.0, exponent: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.exponent = exponent
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, loss: Tensor, count: Tensor) -> None:
        """Add a sum of losses over `count` targets."""
        self.total += loss
        self.count += count

    def compute(self) -> Tensor:
        """Return the mean."""
        mean = self.total / self.count
        return mean.exp() if self.exponent else mean * self.scale


class DomainLoss(Metric):
    """Mean loss of each domain, as `MeanLoss`; domains without a scored target are left out.

    Args:
        names: name of each domain's score.
        scales: factor of each domain's mean, unless it is exponentiated.
        exponent: return perplexities.
    """

    totals: Tensor
    counts: Tensor

    def __init__(self, names: Sequence[str], scales: Sequence[float], exponent: bool) -> None:
        super().__init__()
        self.names = names
        self.scales = scales
        self.exponent = exponent
        zeros = torch.zeros(len(names), dtype=torch.float64)
        self.add_state("totals", zeros, dist_reduce_fx="sum")
        self.add_state("counts", zeros.clone(), dist_reduce_fx="sum")

    def update(self, losses: Tensor, scored: Tensor, domains: Tensor) -> None:
        """Add sequences: their sums of losses [B], scored targets [B] and domains [B]."""
        numbers = torch.arange(len(self.names), device=domains.device)
        members = (domains == numbers[:, None]).double()  # [domains, B]
        # sums, as adding by index has no fixed order on a GPU
        self.totals += (members * losses).sum(dim=1)
        self.counts += (members * scored).sum(dim=1)

    def compute(self) -> dict[str, Tensor]:
        """Return the score of each domain by name."""
        means = self.totals / self.counts
        scores = means.exp() if self.exponent else means * means.new_tensor(self.scales)
        return {
            name: score
            for name, score, count in zip(self.names, scores, self.counts, strict=True)
            if count
        }


def metrics_of(
    ranking: str, causal: bool, bytes_per_token: float, domains: Mapping[str, float]
) -> MetricCollection:
    """Return fresh metrics: perplexity, bits per byte of causal models, and scores of domains.

    Args:
        ranking: name of the metric that ranks, by which each domain is scored.
        causal: whether the next token is predicted.
        bytes_per_token: of the test split.
        domains: name -> bytes per token of its test split; empty for a text of one domain.
    """
    metrics: dict[str, Metric | MetricCollection] = {"perplexity": MeanLoss(exponent=True)}
    if causal:
        metrics["bits_per_byte"] = MeanLoss(scale=1 / math.log(2) / bytes_per_token)
    if domains:
        names = [f"{ranking}/{domain}" for domain in domains]
        scales = [1 / math.log(2) / per_token for per_token in domains.values()]
        metrics["domains"] = DomainLoss(names, scales, ranking == "perplexity")
    return MetricCollection(metrics, compute_groups=False)


def sums_of(logits: Tensor, labels: Tensor, domain: Tensor | None) -> dict[str, Tensor]:
    """Return what the metrics of `metrics_of` add up.

    Args:
        logits: [B, T, V].
        labels: [B, T].
        domain: [B], number of each sequence's domain; None for a text of one domain.
    """
    flat, targets, scored = logits.flatten(0, 1), labels.flatten(), labels != IGNORED
    loss = F.cross_entropy(flat, targets, ignore_index=IGNORED, reduction="sum")
    sums = {"loss": loss.double(), "count": scored.sum()}
    if domain is not None:
        losses = F.cross_entropy(flat, targets, ignore_index=IGNORED, reduction="none")
        sums["losses"] = losses.view_as(labels).double().sum(dim=1)
        sums |= {"scored": scored.sum(dim=1), "domains": domain}
    return sums


def leak(
    before: Float[Tensor, "B T V"], after: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]
) -> Lookahead:
    """Measure how far logits depend on later tokens, which were exchanged after `before`."""
    nats = F.cross_entropy(after.flatten(0, 1), targets.flatten())
    nats -= F.cross_entropy(before.flatten(0, 1), targets.flatten())
    changed = (before - after).abs().amax(dim=-1) > ROUNDING * before.abs().amax(dim=-1)
    return Lookahead(outputs=changed.float().mean().item(), bits=nats.item() / math.log(2))
