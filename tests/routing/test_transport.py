"""Transport and assignment against independent implementations: POT, scipy, enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import ot
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ot.smooth import SparsityConstrained, semi_dual_obj_grad
from scipy.optimize import linear_sum_assignment

from moesuite.routers.base import Base
from moesuite.routing.router import LayerSpec
from moesuite.routing.transport import (
    assignment,
    semi_dual,
    sinkhorn,
    sparse_simplex,
    sparse_transport,
)

sizes = st.integers(2, 9)


@settings(max_examples=30, deadline=None)
@given(
    length=sizes, num_experts=sizes, scale=st.sampled_from([0.1, 1.0, 6.0]), seed=st.integers(0, 99)
)
def test_sinkhorn_equals_pot_iteration_by_iteration(
    length: int, num_experts: int, scale: float, seed: int
) -> None:
    torch.manual_seed(seed)
    logits = scale * torch.randn(2, length, num_experts)
    plan = sinkhorn(logits, iterations=20)
    for group, ours in zip(logits.double().numpy(), plan, strict=True):
        tokens, experts = np.ones(length), np.full(num_experts, length / num_experts)
        theirs = ot.sinkhorn(tokens, experts, -group, reg=1.0, numItermax=20, stopThr=0, warn=False)
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-5)


def test_sinkhorn_gives_every_token_its_mass_and_padding_none() -> None:
    torch.manual_seed(0)
    logits, mask = 1e4 * torch.randn(2, 6, 3), torch.tensor([[True] * 4 + [False] * 2, [False] * 6])
    plan = sinkhorn(logits, mask)
    torch.testing.assert_close(
        plan.sum(dim=2)[0], torch.tensor([1.0, 1, 1, 1, 0, 0]), rtol=0, atol=1e-3
    )
    assert not plan[1].any()


def test_sinkhorn_of_two_tokens_by_hand() -> None:
    # logits 0 but for token 0 and expert 0: ln 4. Marginals 1, 1: the plan [[p, 1-p], [1-p, p]]
    # keeps the odds ratio p² / (1-p)² = 4, so p = 2/3
    plan = sinkhorn(torch.tensor([[[np.log(4.0), 0.0], [0.0, 0.0]]]).float(), iterations=60)
    torch.testing.assert_close(
        plan[0], torch.tensor([[2 / 3, 1 / 3], [1 / 3, 2 / 3]]), rtol=1e-4, atol=1e-5
    )


@settings(max_examples=40, deadline=None)
@given(length=sizes, data=st.data(), seed=st.integers(0, 99))
def test_the_sparse_projection_equals_pot(length: int, data: st.DataObject, seed: int) -> None:
    k = data.draw(st.integers(1, length))
    points = np.random.default_rng(seed).normal(size=(length, 4))
    theirs = ot.utils.projection_sparse_simplex(points, k, axis=0)
    ours = sparse_simplex(torch.from_numpy(points.T).float(), k)
    np.testing.assert_allclose(ours.numpy(), theirs.T, atol=1e-5)


def test_the_sparse_projection_by_hand() -> None:
    # the two largest of (0.9, 0.5, 0.4) are moved down by (0.9 + 0.5 - 1) / 2 = 0.2
    assert sparse_simplex(torch.tensor([0.9, 0.5, 0.4]), 2).tolist() == pytest.approx(
        [0.7, 0.3, 0.0]
    )


@settings(max_examples=25, deadline=None)
@given(length=sizes, num_experts=sizes, k=st.integers(1, 9), seed=st.integers(0, 99))
@example(length=2, num_experts=3, k=1, seed=7)  # a kink 0.002 from the start: the end lies lower
def test_the_semi_dual_equals_pot_and_the_plan_is_its_supergradient(
    length: int, num_experts: int, k: int, seed: int
) -> None:
    k = min(k, length)
    costs = torch.rand(1, num_experts, length, generator=torch.Generator().manual_seed(seed))
    mass, shares = torch.ones(1, length), torch.full((1, num_experts), length / num_experts)
    plan, potential = sparse_transport(costs, mass, shares, k)
    ours = semi_dual(potential, costs, mass, shares, k).item()
    theirs, _ = semi_dual_obj_grad(
        potential[0].double().numpy(),
        mass[0].double().numpy(),
        shares[0].double().numpy(),
        costs[0].T.double().numpy(),
        SparsityConstrained(max_nz=k, gamma=1.0),
    )
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)
    # concave, f(0) <= f(α) + g·(0 - α): twenty steps of constant size never end lower than by g·α
    start = semi_dual(torch.zeros_like(potential), costs, mass, shares, k).item()
    assert start <= ours - ((mass - plan.sum(dim=1)) * potential).sum().item() + 1e-4
    assert (plan > 0).sum(dim=2).max() <= k
    torch.testing.assert_close(plan.sum(dim=2), shares)


@pytest.mark.parametrize(("length", "num_experts"), [(2, 3), (5, 2), (6, 6), (9, 5)])
def test_the_ascent_reaches_the_maximum_but_for_a_step(length: int, num_experts: int) -> None:
    # one entry each: Σ_j share_j²/2 does not depend on α, and what is left is the dual of transport
    # without regularisation, of which POT knows the optimum
    torch.manual_seed(0)
    costs, lr = torch.rand(20, num_experts, length), 3e-3
    mass, shares = torch.ones(20, length), torch.full((20, num_experts), length / num_experts)
    best = torch.tensor(
        [
            ot.emd2(np.ones(length), np.full(num_experts, length / num_experts), problem)
            for problem in costs.transpose(1, 2).double().numpy()
        ]
    )
    best = best + 0.5 * shares.square().sum(dim=1)
    gaps = []
    for iterations in (1, 20, 1000):
        _, potential = sparse_transport(costs, mass, shares, 1, iterations, lr)
        gaps.append(best - semi_dual(potential, costs, mass, shares, 1))
        assert gaps[-1].min() >= -1e-4  # weak duality
    assert gaps[0].sum() > gaps[1].sum() > gaps[2].sum()
    assert gaps[2].max() <= lr * length


def test_with_one_entry_each_the_plan_is_pots() -> None:
    # K = 1: each expert's whole share lies on the token with the largest potential minus cost
    torch.manual_seed(0)
    costs, mass, shares = torch.rand(1, 4, 6), torch.ones(1, 6), torch.full((1, 4), 1.5)
    plan, potential = sparse_transport(costs, mass, shares, k=1)
    points = (potential[:, None] - costs)[0].T.double().numpy()
    _, theirs = SparsityConstrained(max_nz=1).max_Omega(points, shares[0].double().numpy())
    np.testing.assert_allclose(plan[0].numpy(), (theirs * 1.5).T, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    length=st.integers(1, 12),
    num_experts=st.integers(1, 5),
    slots=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_base_assigns_as_well_as_scipy(
    length: int, num_experts: int, slots: int, seed: int
) -> None:
    scores = torch.randn(length, num_experts, generator=torch.Generator().manual_seed(seed))
    experts = assignment(scores, slots)
    assert torch.bincount(experts, minlength=num_experts + 1)[:num_experts].max() <= slots
    assert (experts < num_experts).sum() == min(length, num_experts * slots)
    matrix = np.repeat(scores.double().numpy(), slots, axis=1)
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    served = experts < num_experts
    ours = scores[served].gather(1, experts[served, None]).sum().item()
    assert ours == pytest.approx(matrix[rows, columns].sum(), rel=1e-5, abs=1e-5)


def test_base_finds_the_best_of_all_balanced_assignments() -> None:
    torch.manual_seed(0)
    scores = torch.randn(6, 3)
    balanced = [
        c for c in itertools.product(range(3), repeat=6) if all(c.count(e) == 2 for e in range(3))
    ]
    best = max(balanced, key=lambda choice: sum(scores[t, e].item() for t, e in enumerate(choice)))
    assert assignment(scores, 2).tolist() == list(best)


def test_base_is_balanced_in_training_and_greedy_in_evaluation() -> None:
    torch.manual_seed(0)
    router, x = Base(LayerSpec(5, 4)), torch.randn(2, 12, 5)
    assert (router.train()(x).load() == 3).all()
    torch.testing.assert_close(
        router.eval()(x).experts.reshape(2, 12), (x @ router.gate.weight.T).argmax(dim=-1)
    )


@pytest.mark.parametrize("k", [1, 2, 3])
def test_steps_are_those_of_adam_to_the_last_bit(k: int) -> None:
    torch.manual_seed(k)
    costs, mass, shares = -torch.rand(3, 4, 7), torch.ones(3, 7), torch.full((3, 4), 7 / 4)
    potential = torch.zeros_like(mass)
    adam = torch.optim.Adam([potential], lr=1e-2, maximize=True)
    for _ in range(20):
        points = (potential[:, None] - costs) / shares[..., None]
        potential.grad = mass - (shares[..., None] * sparse_simplex(points, k)).sum(dim=1)
        adam.step()
    assert torch.equal(sparse_transport(costs, mass, shares, k)[1], potential)
