"""What a forward does besides its parts is found, whatever it is, and by how much it differs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite import DenseMLP
from moesuite.models.mlps.verify import fault, kind
from moesuite.models.mlps.whole import read_mlp as read_names

DIM, HIDDEN = 6, 20
Forward = Callable[["Mlp", Tensor], Tensor]


class Mlp(nn.Module):
    """The parts of timm's MLP, and any forward."""

    def __init__(self, forward_of: Forward, rate: float = 0.0) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(DIM, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, DIM)
        self.drop1 = nn.Dropout(rate)
        self.forward_of = forward_of
        self.register_buffer("one", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_of(self, x)


def read_mlp(module: nn.Module) -> list[DenseMLP]:
    mlp = read_names(module)
    return [] if mlp is None else [mlp]


def plain(mlp: Mlp, x: Tensor) -> Tensor:
    return mlp.fc2(mlp.drop1(mlp.act(mlp.fc1(x))))


def hidden(change: Callable[[Tensor], Tensor]) -> Forward:
    return lambda mlp, x: mlp.fc2(change(mlp.act(mlp.fc1(x))))


SAME: dict[str, Forward] = {
    "plain": plain,
    "in chunks": lambda mlp, x: torch.cat([plain(mlp, chunk) for chunk in x.split(1, dim=0)]),
    "flat tokens": lambda mlp, x: plain(mlp, x.flatten(0, 1)).view(x.shape),
    "the same functions": lambda mlp, x: F.linear(
        F.gelu(F.linear(x, mlp.fc1.weight, mlp.fc1.bias)), mlp.fc2.weight, mlp.fc2.bias
    ),
}
OTHER: dict[str, Forward] = {
    "residual inside": lambda mlp, x: x + plain(mlp, x),
    "scale of 1 that may be learned": lambda mlp, x: mlp.one * plain(mlp, x),
    "norm first": lambda mlp, x: plain(mlp, F.layer_norm(x, (DIM,))),
    "norm last": lambda mlp, x: F.layer_norm(plain(mlp, x), (DIM,)),
    "clamp of large values": hidden(lambda h: h.clamp(max=50)),
    "a second activation": hidden(F.relu),
    "the most active only": hidden(lambda h: h * (h >= h.topk(4).values[..., -1:])),
    "response of the other tokens": hidden(lambda h: h / (1 + h.norm(dim=1, keepdim=True))),
    "mixes tokens": hidden(lambda h: h + h.roll(1, dims=-2)),
    "another order": lambda mlp, x: mlp.act(mlp.fc2(mlp.fc1(x))),
    "rounds to bfloat16": hidden(lambda h: h.bfloat16().float()),
}


@pytest.mark.parametrize("name", SAME)
def test_what_equals_its_parts_has_no_fault(name: str) -> None:
    assert fault(Mlp(SAME[name]), read_mlp) == ""


@pytest.mark.parametrize("name", OTHER)
def test_what_does_more_than_its_parts_say_is_found(name: str) -> None:
    assert "differs from down(act(up x)) by" in fault(Mlp(OTHER[name]), read_mlp)


def test_the_difference_is_relative_to_the_output() -> None:
    """0.9 y instead of y: off by 10 % of y, whatever y is."""
    assert "by 10.0% of its output" in fault(Mlp(lambda m, x: 0.9 * plain(m, x)), read_mlp)


@pytest.mark.parametrize(
    ("forward", "rate", "message"),
    [
        (plain, 0.5, ""),
        (
            lambda mlp, x: mlp.fc2(F.dropout(mlp.act(mlp.fc1(x)), 0.5, mlp.training)),
            0.0,
            "training",
        ),
        (lambda mlp, x: mlp.drop1(mlp.fc2(mlp.act(mlp.fc1(x)))), 0.5, "training"),
        (lambda mlp, x: mlp.drop1(mlp.fc2(mlp.act(mlp.fc1(x)))), 0.0, ""),  # nothing is dropped
        (lambda mlp, x: plain(mlp, x)[..., :5], 0.0, "returns [2, 3, 5] for tokens [2, 3, 6]"),
        (lambda mlp, x: (plain(mlp, x), x), 0.0, "returns a tuple"),
        (lambda mlp, x: plain(mlp, x + x.new_zeros(7, 1, 5)), 0.0, "does not take tokens"),
    ],
)
def test_dropout_shapes_and_errors(forward: Forward, rate: float, message: str) -> None:
    problem = fault(Mlp(forward, rate), read_mlp)
    assert message in problem and bool(message) == bool(problem)


@pytest.mark.parametrize("name", ["plain", "scale of 1 that may be learned"])
def test_the_answer_does_not_hang_on_device_dtype_or_mode(name: str) -> None:
    forward = (SAME | OTHER)[name]
    problem = fault(Mlp(forward), read_mlp)
    with torch.device("meta"):
        on_meta = Mlp(forward)
    for alike in (on_meta, Mlp(forward).half(), Mlp(forward).bfloat16().eval()):
        assert fault(alike, read_mlp) == problem


def test_the_module_and_the_random_numbers_of_the_caller_are_left_alone() -> None:
    mlp = Mlp(plain, 0.5)
    for parameter in mlp.parameters():
        nn.init.zeros_(parameter)  # as many a last layer starts
    calls: list[int] = []
    mlp.register_forward_hook(lambda *_: calls.append(1))
    mlp.fc1.register_forward_pre_hook(lambda *_: calls.append(1))
    state = torch.get_rng_state()
    assert fault(mlp, read_mlp) == ""
    assert not calls and mlp.training and torch.equal(torch.get_rng_state(), state)
    assert not any(parameter.any() for parameter in mlp.parameters())


def test_parts_that_do_not_fit_are_no_error() -> None:
    mlp = Mlp(plain)
    swapped = DenseMLP(mlp.fc2, None, mlp.fc1, mlp.act, nn.Identity(), None, nn.Identity())
    assert fault(mlp, lambda _: [swapped]) != ""
    assert "cannot be copied" in fault(mlp, lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    assert "is not read in a copy" in fault(mlp, lambda other: [swapped] if other is mlp else [])


def test_kinds_differ_by_settings_and_shapes_not_by_weights() -> None:
    first, second = Mlp(plain), Mlp(plain).eval()
    assert kind(first) == kind(second)
    assert kind(first) != kind(Mlp(OTHER["another order"]))
    second.act.approximate = "tanh"
    assert kind(first) != kind(second)
