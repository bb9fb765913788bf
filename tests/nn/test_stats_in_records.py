"""Figures of routing health are computed in nn/stats, declared in records, nowhere else."""

from __future__ import annotations

import torch

from moesuite.nn.stats import Counts, count, health, layer_health, refused
from moesuite.records.record import LayerHealth, RoutingHealth
from moesuite.routing.forms import RaggedRouting

# two tokens, three experts: both pairs go to expert 1
ROUTING = RaggedRouting(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.ones(2), 1, 2, 3)


def test_every_declared_figure_is_computed() -> None:
    figures = health(count(ROUTING))
    assert figures.model_fields_set == RoutingHealth.model_fields.keys()
    assert figures == RoutingHealth(
        load=[0.0, 1.0, 0.0], unserved=0.0, dead=2, entropy=0.0, pairs_per_token=1.0, null_share=0.0
    )


def test_null_experts_have_a_share_of_the_pairs_and_no_load() -> None:
    """Of three experts the last two are null: they have both pairs, and no token is served."""
    figures = health(count(ROUTING, num_experts=1))
    assert figures == RoutingHealth(
        load=[0.0], unserved=1.0, dead=1, entropy=1.0, pairs_per_token=0.0, null_share=1.0
    )


def test_figures_reach_the_record_unchanged() -> None:
    counts = count(ROUTING)
    record = layer_health("blocks.1.mlp", counts, None)
    assert record == LayerHealth(layer="blocks.1.mlp", **dict(health(counts)))


def test_the_record_of_a_router_with_capacity_has_what_the_capacity_dropped() -> None:
    # capacity serves one of two tokens and one of two pairs
    one = torch.tensor(1.0)
    limited = Counts(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]), one, 2 * one, 0 * one)
    record = layer_health("a", count(ROUTING), limited)
    assert record.dropped_under_capacity == 0.5 and refused(limited) == 0.5
    assert record.refused_under_capacity == 0.5


def test_all_counts_add_up() -> None:
    counts = count(ROUTING)
    for name, value in vars(counts + counts).items():
        assert torch.equal(value, 2 * getattr(counts, name)), name
