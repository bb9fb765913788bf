"""Operations without a formula are named, not counted as nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from moesuite import moefy
from moesuite.compute.cost import cost
from moesuite.errors import UserError
from tests.compute.counted import ATTENTION, images, vit


@torch.library.custom_op("custom::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    """An operation that no formula knows."""
    return x * 2


doubled.register_fake(lambda x: torch.empty_like(x))


class Custom(nn.Module):
    """A module with an operation of its own and a Fourier transform."""

    def forward(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        """[..., D] -> [..., D]."""
        return torch.fft.rfft(doubled(x.detach()), dim=-1).real[..., :1] + x


def test_operations_without_a_formula_are_named() -> None:
    model = vit()
    model.set_submodule("blocks.1.attn", Custom())
    name = "VisionTransformer.blocks.1.attn"
    assert cost(model, images()).uncounted == [f"{name}: aten._fft_r2c", f"{name}: custom.doubled"]


@torch.library.custom_op("custom::opaque", mutates_args=())
def opaque(x: torch.Tensor) -> torch.Tensor:
    """An operation that cannot even be run without values."""
    return x.clone()


class Opaque(nn.Module):
    """Hides attention from accounting."""

    def forward(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        """[..., D] -> [..., D]."""
        return opaque(x.detach()) + x


@pytest.mark.parametrize(
    ("router", "options"), [("expert_choice", {}), ("usmoe", {}), ("soft", {"dispatch": "uniform"})]
)
def test_an_operation_that_needs_values_is_run_and_named(
    router: str, options: dict[str, Any]
) -> None:
    model = moefy(vit(), router, num_experts=4, **options)
    whole = cost(model, images()).forward.executed
    model.set_submodule("blocks.1.attn", Opaque())
    found = cost(model, images())
    assert found.uncounted == ["VisionTransformer.blocks.1.attn: custom.opaque"]
    assert (
        found.forward.executed.total == whole.total - ATTENTION
        and found.forward.executed.experts == whole.experts
    )
    assert found.training.executed.total > 2.5 * found.forward.executed.total


def test_inputs_that_the_model_refuses() -> None:
    with pytest.raises(
        UserError, match=r"VisionTransformer refuses inputs of shape \(3, 1, 9, 9\): .*; expected"
    ):
        cost(vit(), torch.randn(3, 1, 9, 9))
