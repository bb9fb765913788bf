"""Default outputs: what stands in for a missing expert, when it moves, what routers learn by it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from moesuite import MoE, UserError, moefy
from moesuite.certify.certificate import causal
from moesuite.certify.harness import Subject, small_mlp
from moesuite.certify.isolation import padding_invariant
from moesuite.discovery.names import router_names
from moesuite.nn.beside.default_outputs import DefaultOutputs
from moesuite.nn.beside.parts import Parts
from moesuite.nn.context import Scope
from moesuite.routers import build_router, router_class
from moesuite.routers.switch import Switch
from moesuite.routing.forms import RaggedRouting, SlotRouting
from moesuite.routing.router import LayerSpec, Router
from tests.compute.counted import vit
from tests.helpers import long_except
from tests.nn.beside.small import DIM, EXPERTS, layer_of, tokens

DENSE = [name for name in router_names() if router_class(name).dense_gates]
OTHERS = [name for name in router_names() if name not in DENSE and name != "dense"]
PARTS = Parts(dense_gradient=True)
MASK = torch.arange(9) < torch.tensor([[9], [5], [2]])


def default_of(layer: MoE) -> DefaultOutputs:
    assert layer.default is not None
    return layer.default


def outputs_of(layer: MoE, x: Tensor) -> Tensor:
    """Return the output of every expert on every token, [G, T, E, D]."""
    flat = x.flatten(0, 1)
    each: Tensor = layer.experts(flat.expand(EXPERTS, *flat.shape))
    return each.movedim(0, 1).unflatten(0, x.shape[:2])


def equation_11(layer: MoE, x: Tensor) -> Tensor:
    """Return Σ π_i E_i(x) over those that serve, and Σ π_i Ê_i over the others."""
    routing = layer.routing
    assert isinstance(routing, SlotRouting | RaggedRouting) and routing.gates is not None
    served = (routing.token_weights() != 0)[..., None]
    values = torch.where(served, outputs_of(layer, x), default_of(layer).running)
    return (routing.gates[..., None] * values).sum(dim=2)


def step(layer: MoE, x: Tensor, mask: Tensor | None = None) -> Tensor:
    torch.manual_seed(3)
    with layer.context.inside(Scope(mask)):
        y = layer.train()(x)
    layer.context.losses.clear()
    return y


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", DENSE)
def test_the_output_and_the_gradient_are_those_of_equation_11(name: str, masked: bool) -> None:
    layer = layer_of(name, PARTS)
    default_of(layer).running = torch.randn(EXPERTS, DIM)
    mask = MASK if masked else None
    for training in (False, True):
        y = step(layer, tokens(), mask) if training else layer.eval()(tokens())
        expected = equation_11(layer, tokens())
        torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-4)
    weights = list(layer.router.parameters())
    ours = torch.autograd.grad(y.square().sum(), weights, retain_graph=True)
    theirs = torch.autograd.grad(expected.square().sum(), weights)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", long_except(OTHERS, "soft", "loss_free"))
def test_others_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"router={name} dense_gradient=true: it has no gates of"):
        moefy(vit(), name, 4, dense_gradient=True)


class Dropless(Switch):
    """Without a limit in training either: pairs instead of slots."""

    slots_per_token = None


@pytest.mark.parametrize("dropless", [False, True])
def test_the_running_mean_by_hand(dropless: bool) -> None:
    """Of two experts f(x) = 10 x and 20 x, the first serves 1 and 3, the second nobody.

    Their mean output is 20: the step after, Ê is 0.1 · 20 = 2 and 0; one more such step: 3.8. The
    missing expert's Ê = 0 adds nothing, and an expert without tokens keeps its Ê.
    """
    router = (Dropless if dropless else Switch)(LayerSpec(1, 2, 2.0), jitter=0.0)
    layer = PARTS.layer(router, small_mlp(1, 1))
    layer.experts.act = torch.nn.Identity()
    for name, parameter in layer.experts.named_parameters():
        parameter.data.fill_(0.0 if "bias" in name else 1.0)
    layer.experts.down.weight.data = torch.tensor([[[10.0]], [[20.0]]])
    layer.router.gate.weight.data = torch.tensor([[2.0], [-2.0]])
    x, default = torch.tensor([[[1.0], [3.0]]]), default_of(layer)
    y = step(layer, x)
    assert default.running.tolist() == [[0.0], [0.0]]
    assert default.latest[0].item() == 20 and default.latest[1].isnan().all()
    gates = (4 * x).sigmoid()  # of two logits, 2 x and -2 x
    torch.testing.assert_close(y, gates * 10 * x)
    for expected in (2.0, 3.8):
        y = step(layer, x)
        torch.testing.assert_close(default.running, torch.tensor([[expected], [0.0]]))
    torch.testing.assert_close(y, gates * 10 * x)
    # token -1 goes to the second expert; the first is missing, with gate 1 - σ(4)
    y = layer.eval()(torch.tensor([[[-1.0]]]))
    gate = torch.tensor(4.0).sigmoid()
    torch.testing.assert_close(y.squeeze(), -20 * gate + (1 - gate) * 3.8)


@pytest.mark.parametrize("name", DENSE)
def test_means_are_of_the_real_tokens_of_each_expert(name: str) -> None:
    for training_slots in (0.5, 4.0):
        layer = layer_of(name, PARTS)
        layer.router.spec = LayerSpec(DIM, EXPERTS, training_slots, tokens=9)
        step(layer, tokens(), MASK)
        routing = layer.routing
        assert isinstance(routing, SlotRouting | RaggedRouting)
        served = (routing.token_weights() != 0).float()
        sums = torch.einsum("gte,gted->ed", served, outputs_of(layer, tokens()))
        torch.testing.assert_close(
            default_of(layer).latest, sums / served.sum(dim=(0, 1))[:, None], equal_nan=True
        )


def test_a_forward_that_backward_repeats_moves_nothing() -> None:
    layer = layer_of("token_choice", PARTS).train()
    twin = copy.deepcopy(layer)
    for _ in range(2):
        x = tokens().requires_grad_()
        ours = checkpoint(layer, x, use_reentrant=False)
        ours.sum().backward()
        layer.context.losses.clear()
        step(twin, tokens())
        for name in ("running", "latest"):
            torch.testing.assert_close(
                getattr(default_of(layer), name), getattr(default_of(twin), name)
            )
    before = default_of(layer).running.clone()
    layer.eval()(tokens())
    assert torch.equal(default_of(layer).running, before)


def test_a_false_claim_is_one_line() -> None:
    layer = layer_of("hash", PARTS)
    with pytest.raises(UserError, match="or dense_gates = False in its class"):
        layer(tokens())


def test_half_precision_keeps_exact_means() -> None:
    layer = layer_of("token_choice", PARTS).to(torch.bfloat16)
    assert default_of(layer).running.dtype == torch.float32
    layer.train()(tokens().bfloat16()).sum().backward()
    assert default_of(layer).latest.dtype == torch.float32


def test_the_router_learns_of_experts_that_are_missing() -> None:
    """With one choice of four, gates of the others get a gradient by their Ê alone."""
    grads = []
    for parts in (Parts(), PARTS):
        layer = layer_of("token_choice", parts, balance_weight=0.0, z_weight=0.0).eval()
        if layer.default is not None:
            layer.default.running = torch.randn(EXPERTS, DIM)
        layer(tokens()).square().sum().backward()
        grads.append(layer.router.gate.weight.grad)
    assert not torch.allclose(*grads, rtol=0.1)


class WithDefault(Subject):
    """The certificate's test bench, with default outputs in its layers."""

    def _build(self, spec: LayerSpec, sharp: float) -> MoE:
        layer = PARTS.layer(self._router(spec), small_mlp(self.dim, 2 * self.dim))
        for parameter in layer.parameters():
            if sharp and parameter.ndim >= 2:
                torch.nn.init.normal_(parameter, std=sharp)
        for seed in (100, 101):
            layer.train()(self.inputs(seed=seed))
        layer.context.losses.clear()
        return layer


@pytest.mark.slow
@pytest.mark.parametrize("check", [causal, padding_invariant])
@pytest.mark.parametrize("name", DENSE)
def test_layers_are_as_causal_as_their_routers(name: str, check: Any) -> None:
    """In training too: what stands in is of the steps before."""

    def built(spec: LayerSpec, **options: Any) -> Router:
        return build_router(name, spec, options)

    without, with_default = check(Subject(built)), check(WithDefault(built))
    assert with_default.holds == without.holds and not with_default.false
