"""MLPs as people write them in code of their own, and what looks the same but is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DIM, HIDDEN = 12, 20


class MetaLlama(nn.Module):
    """Of LLaMA as Meta published it."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Linear(DIM, HIDDEN, bias=False)
        self.w2 = nn.Linear(HIDDEN, DIM, bias=False)
        self.w3 = nn.Linear(DIM, HIDDEN, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class OtherBranch(MetaLlama):
    """The activation on the other branch."""

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(self.w1(x) * F.gelu(self.w3(x), approximate="tanh"))


class Scaled(MetaLlama):
    def forward(self, x: Tensor) -> Tensor:
        return 1.1 * super().forward(x)


class Clamped(MetaLlama):
    def forward(self, x: Tensor) -> Tensor:
        return self.w2((F.silu(self.w1(x)) * self.w3(x)).clamp(max=50))


class DropsInput(MetaLlama):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.drop(x))


class Quantised(nn.Parameter):
    """As libraries of quantisation store weights."""


class Packed(nn.Module):
    """SwiGLU of xformers and DINOv2."""

    def __init__(self) -> None:
        super().__init__()
        self.w12, self.w3 = nn.Linear(DIM, 2 * HIDDEN), nn.Linear(HIDDEN, DIM)

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(x1) * x2)


class Interleaved(Packed):
    """The gate is every other value."""

    def forward(self, x: Tensor) -> Tensor:
        both = self.w12(x)
        return self.w3(F.silu(both[..., ::2]) * both[..., 1::2])


class GEGLU(nn.Module):
    """Of the code of lucidrains: the gate is the second half."""

    def forward(self, x: Tensor) -> Tensor:
        x, gate = x.chunk(2, dim=-1)
        return x * F.gelu(gate)


def perceiver() -> nn.Module:
    """Of perceiver-pytorch."""
    return nn.Sequential(
        nn.Linear(DIM, 2 * HIDDEN), GEGLU(), nn.Linear(HIDDEN, DIM), nn.Dropout(0.25)
    )


def palm() -> nn.Module:
    """Norm first, as in much code of lucidrains."""
    return nn.Sequential(
        nn.LayerNorm(DIM),
        nn.Linear(DIM, 2 * HIDDEN, bias=False),
        GEGLU(),
        nn.Linear(HIDDEN, DIM, bias=False),
    )


class FeedForward(nn.Module):
    """Of vit-pytorch."""

    def __init__(self, *between: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(DIM),
            nn.Linear(DIM, HIDDEN),
            nn.GELU(),
            nn.Dropout(0.25),
            *between,
            nn.Linear(HIDDEN, DIM),
            nn.Dropout(0.5),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def without_norm() -> nn.Module:
    return nn.Sequential(
        nn.Linear(DIM, HIDDEN), nn.GELU(), nn.Dropout(0.25), nn.Linear(HIDDEN, DIM)
    )


class Diffusers(nn.Module):
    """The gate within one part, as in diffusers."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj = nn.Linear(DIM, 2 * HIDDEN)

        def forward(self, x: Tensor) -> Tensor:
            x, gate = self.proj(x).chunk(2, dim=-1)
            return x * F.gelu(gate)

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.ModuleList([self.Gate(), nn.Dropout(0.25), nn.Linear(HIDDEN, DIM)])

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        for module in self.net:
            x = module(x)
        return x


class Eva(nn.Module):
    """A norm of the hidden values, and two dropouts, one by a rate."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(DIM, HIDDEN), nn.Linear(DIM, HIDDEN)
        self.inner_norm, self.c = nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, DIM)
        self.act = nn.Mish()
        self.dropout = 0.5

    def forward(self, x: Tensor) -> Tensor:
        y = self.c(self.inner_norm(self.a(x) * self.act(self.b(x))))
        return F.dropout(y, self.dropout, self.training)


class Primer(nn.Module):
    """Of the speed runs of nanoGPT."""

    def __init__(self) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(DIM, HIDDEN), nn.Linear(HIDDEN, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.relu(self.c_fc(x)).square())


class OwnLinear(nn.Linear):
    """Draws its weights in another way."""

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.weight, std=0.5)
        nn.init.zeros_(self.bias)


class HalvedLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 2


def of(linear: type[nn.Linear]) -> nn.Module:
    return nn.Sequential(linear(DIM, HIDDEN), nn.ReLU(), linear(HIDDEN, DIM))


class ByTokens(nn.Module):
    """An activation over another axis than the last."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(DIM, HIDDEN), act, nn.Linear(HIDDEN, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


# how an MLP is made, and the name of what is replaced within it
ALIKE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "Meta's LLaMA": (MetaLlama, ""),
    "gate last": (OtherBranch, ""),
    "packed": (Packed, ""),
    "perceiver-pytorch": (perceiver, ""),
    "norm and packed gate": (palm, "1"),
    "vit-pytorch": (FeedForward, "net.1"),
    "without norm": (without_norm, ""),
    "diffusers": (Diffusers, ""),
    "norm inside": (Eva, ""),
    "relu squared": (Primer, ""),
    "own linear": (lambda: of(OwnLinear), ""),
    "softmax of features": (lambda: ByTokens(nn.Softmax(-1)), ""),
}
# and what is said of those that compute something else
UNLIKE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "scaled": (Scaled, "Scaled at 1 computes something else with w1, w3, w2"),
    "clamped": (Clamped, "Clamped at 1 computes something else"),
    "interleaved": (Interleaved, "computes something else with w12, w3"),
    "batch norm": (
        lambda: FeedForward(nn.BatchNorm1d(3)),
        "Sequential at 1.net has the BatchNorm1d 4 besides its linear layers",
    ),
    "third layer": (
        lambda: FeedForward(nn.Linear(HIDDEN, HIDDEN), nn.GELU()),
        r"has 3 linear layers \(1 12→20, 4 20→20, 6 20→12\)",
    ),
    "linear with a forward": (
        lambda: of(HalvedLinear),
        "has the tests.*HalvedLinear 0; expected a plain nn.Linear",
    ),
    "softmax of tokens": (lambda: ByTokens(nn.Softmax(1)), "act mixes tokens"),
    "softmax of axis 2": (lambda: ByTokens(nn.Softmax(2)), "shapes of its parts do not fit"),
}


def host(mlp: nn.Module) -> nn.Module:
    """Return a model that calls an MLP, with no part of width D -> H but the MLP's."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(DIM, DIM), mlp)
