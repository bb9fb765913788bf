"""Test classes to inherit: one conformance suite for every router, a stranger's too.

from moesuite.testing import RouterContract
from my_file import MyRouter

class TestMyRouter(RouterContract):
    router = MyRouter
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from moesuite.dispatch import apply_experts, reference
from moesuite.experts import DenseMLP, Experts
from moesuite.router import LayerSpec, Router, Routing


def small_mlp(dim: int = 6, hidden: int = 10, gated: bool = False, norm: bool = False) -> DenseMLP:
    """Return a small MLP, for tests."""
    linear = nn.Linear(dim, hidden), nn.Linear(dim, hidden) if gated else None, nn.Linear(hidden, dim)
    layer_norm = nn.LayerNorm(hidden) if norm else None
    return DenseMLP(linear[0], linear[1], linear[2], nn.GELU(), nn.Identity(), layer_norm, nn.Identity())


class RouterContract:
    """What every router has to keep. Set `router`, and `options` for its own parameters.

    Attributes:
        router: the class under test.
        options: keyword arguments beside the spec.
    """

    router: type[Router]
    options: dict[str, Any] = {}
    groups, tokens, dim, num_experts = 3, 12, 6, 4

    def build(self, num_experts: int | None = None, **spec: Any) -> Router:
        """Return a router with logits large enough to have opinions."""
        torch.manual_seed(0)
        values = {"dim": self.dim, "num_experts": num_experts or self.num_experts, "tokens": self.tokens, **spec}
        options = {} if num_experts == 1 else self.options  # a single expert leaves no choice, hence no options
        router = self.router(LayerSpec(**values), **options)
        for parameter in router.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter)
        return router

    def inputs(self, groups: int | None = None) -> torch.Tensor:
        """Return tokens [G, T, D]."""
        generator = torch.Generator().manual_seed(1)
        return torch.randn(groups or self.groups, self.tokens, self.dim, generator=generator)

    def output(self, router: Router, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return what a layer with this router puts out."""
        torch.manual_seed(2)
        experts = Experts(small_mlp(self.dim), router.spec.num_experts)
        for parameter in experts.parameters():
            nn.init.normal_(parameter)
        return apply_experts(x, router(x, mask), experts)

    def test_is_deterministic_in_evaluation(self) -> None:
        router, x = self.build().eval(), self.inputs()
        assert torch.equal(self.output(router, x), self.output(router, x))

    def test_does_not_depend_on_the_rest_of_the_batch(self) -> None:
        router, x = self.build().eval(), self.inputs()
        torch.testing.assert_close(self.output(router, x)[:1], self.output(router, x[:1]), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("training", [False, True])
    def test_does_not_depend_on_padding(self, training: bool) -> None:
        router, x = self.build().train(training), self.inputs()
        if not torch.equal(router(x).dense()[1], router(x).dense()[1]):
            return  # random in training: there is nothing to compare
        padding = torch.full((self.groups, 5, self.dim), 7.0)
        mask = torch.arange(self.tokens + 5).expand(self.groups, -1) < self.tokens
        padded = self.output(router, torch.cat([x, padding], dim=1), mask)
        torch.testing.assert_close(padded[:, : self.tokens], self.output(router, x), rtol=1e-4, atol=1e-5)
        assert padded[:, self.tokens :].abs().max() == 0

    def test_losses_do_not_depend_on_padding(self) -> None:
        router, x = self.build().eval(), self.inputs()
        padding = torch.full((self.groups, 5, self.dim), 7.0)
        mask = torch.arange(self.tokens + 5).expand(self.groups, -1) < self.tokens
        padded = router(torch.cat([x, padding], dim=1), mask).losses
        for name, loss in router(x).losses.items():
            torch.testing.assert_close(padded[name], loss)

    def test_fast_path_equals_the_dense_tensors(self) -> None:
        for training in (False, True):
            router, x = self.build().train(training), self.inputs()
            experts = Experts(small_mlp(self.dim), self.num_experts)
            routing = router(x)
            fast, slow = apply_experts(x, routing, experts), reference(x, routing, experts)
            torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)

    def test_later_tokens_do_not_change_earlier_outputs_if_it_claims_so(self) -> None:
        for training in (False, True):
            router, x = self.build().train(training), self.inputs()
            if not router.causal:
                return
            changed = x.clone()
            changed[:, self.tokens // 2 :] = self.inputs().flip(0)[:, self.tokens // 2 :]
            before, after = self.output(router, x), self.output(router, changed)
            half = slice(None), slice(self.tokens // 2)
            torch.testing.assert_close(before[half], after[half], rtol=1e-4, atol=1e-5)

    def test_every_parameter_gets_gradient(self) -> None:
        router, x = self.build(), self.inputs()
        self.output(router, x).square().sum().backward()
        for name, parameter in router.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name

    def test_capacity_is_enforced_in_training(self) -> None:
        router, x = self.build(slots_per_token=0.5).train(), self.inputs()
        routing: Routing = router(x)
        dispatch, _ = routing.dense()
        if self.router.drops:
            assert dispatch.shape[-1] <= router.capacity(self.tokens)

    def test_survives_extreme_logits_and_padding_only(self) -> None:
        router, x = self.build(), self.inputs()
        mask = torch.ones(self.groups, self.tokens, dtype=torch.bool)
        mask[0] = False
        assert torch.isfinite(self.output(router, x * 1e4, mask)).all()

    def test_one_expert_and_fewer_tokens_than_experts(self) -> None:
        single = self.build(num_experts=1).eval()
        assert self.output(single, self.inputs()).shape == (self.groups, self.tokens, self.dim)
        many = self.build(num_experts=self.tokens + 3)
        assert torch.isfinite(self.output(many, self.inputs())).all()
