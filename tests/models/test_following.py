"""What is read from the source of a layer: each layer here is an MLP in another form, or is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moesuite.models.mlps.split.read import read_chain, read_splits, refused_splits


class Layer(nn.Module):
    """The parts of an MLP in a layer, with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)
        self.act = nn.ReLU()
        self.function = torch.relu
        self.rate = 0.5
        self.drop = nn.Dropout(0.25)
        self.norm = nn.LayerNorm(8)
        self.flag = True


class Plain(Layer):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.fc1(x))
        hidden = F.dropout(hidden, p=self.rate, training=self.training)
        return x + self.fc2(hidden)


class InMethod(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.feed_forward(x)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.norm(self.function(self.fc1(x)))))


class SharedDropout(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


def test_dropout_with_a_rate_is_set_to_zero() -> None:
    (split,) = read_splits(Plain())
    assert (split.first, split.last, set(split.also)) == ("fc1", "fc2", {"act", "fc2"})
    assert split.settings == {"rate": 0.0}
    assert isinstance(split.mlp.drop1, nn.Dropout) and split.mlp.drop1.p == 0.5


def test_methods_functions_and_norms() -> None:
    layer = InMethod()
    (split,) = read_splits(layer)
    assert set(split.also) == {"norm", "fc2", "drop"} and set(split.settings) == {"function"}
    assert split.mlp.norm is layer.norm and split.mlp.drop2 is layer.drop
    x = torch.randn(3, 4)
    layer.eval()
    hidden = layer.norm(torch.relu(layer.fc1(x)))
    mlp = split.mlp
    assert mlp.norm is not None
    read = mlp.drop2(mlp.down(mlp.norm(mlp.drop1(mlp.act(mlp.up(x))))))
    torch.testing.assert_close(read, layer.fc2(hidden))


def test_dropout_that_is_used_twice() -> None:
    layer = SharedDropout()
    (split,) = read_splits(layer)
    assert split.mlp.drop1 is split.mlp.drop2 is layer.drop and "drop" in split.also


def test_a_module_that_is_an_mlp_and_nothing_else() -> None:
    class Whole(Layer):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(self.drop(self.act(self.fc1(x))))

    assert read_chain(Whole()) is not None and read_chain(Plain()) is None
    assert read_chain(nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))) is not None
    assert read_chain(nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))) is None
    assert read_chain(nn.Sequential(nn.Linear(4, 2), nn.GELU(), nn.Linear(2, 4))) is None


class Branch(Layer):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.fc1(x))
        if self.flag:
            hidden = hidden * 2
        return x + self.fc2(hidden)


class TwoUses(Layer):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(x)
        return x + self.fc2(self.act(hidden)) + hidden.mean()


class Twice(Layer):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x))) + self.fc2(self.act(self.fc1(y)))


class ByName(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(F.gelu(self.fc1(x)))


class Mixing(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(self.act(self.fc1(x)))


class NoActivation(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(self.drop(self.fc1(x)))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Branch, None),
        (TwoUses, "the output of fc1 has several uses"),
        (Twice, "its layer uses act, fc2 elsewhere, too"),
        (ByName, "its layer calls gelu by name; expected an attribute of the layer"),
        (Mixing, "act mixes tokens"),
        (NoActivation, "drop between its linear layers; expected an activation"),
    ],
)
def test_what_is_not_that_mlp_is_not_read(layer: type[Layer], reason: str | None) -> None:
    assert read_splits(layer()) == []
    refused = refused_splits(layer())
    assert refused == {} if reason is None else refused["fc1"].startswith(reason)
