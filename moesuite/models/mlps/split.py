"""MLPs that are spread over their layer: BERT's, over `intermediate` and `output`."""

from __future__ import annotations

from torch import Tensor, nn

from moesuite.models.mlps.linear import as_linear
from moesuite.nn.experts import DenseMLP


class AddAndNorm(nn.Module):
    """What remains of BERT's `output` without its linear layer and dropout: add and norm.

    Those are in the experts. The norm keeps its name, and so its keys in a state dict.
    """

    def __init__(self, norm: nn.Module | None) -> None:
        super().__init__()
        self.LayerNorm = norm

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """[G, T, D], [G, T, D] -> [G, T, D]."""
        added = hidden_states + input_tensor
        return added if self.LayerNorm is None else self.LayerNorm(added)


def read_split(layer: nn.Module) -> tuple[DenseMLP, AddAndNorm] | None:
    """Return the MLP of a BERT-like layer, which is split over `intermediate` and `output`.

    Returns:
        The MLP, to replace `intermediate`, and the module to replace `output`; None for any other
        layer.
    """
    first, second = getattr(layer, "intermediate", None), getattr(layer, "output", None)
    if not isinstance(first, nn.Module) or not isinstance(second, nn.Module):
        return None
    act, drop = getattr(first, "intermediate_act_fn", None), getattr(second, "dropout", None)
    up, down = (as_linear(getattr(part, "dense", nn.Identity())) for part in (first, second))
    parts = set(dict(second.named_children()))
    if (
        up is None
        or down is None
        or not isinstance(act, nn.Module)
        or not parts <= {"dense", "dropout", "LayerNorm"}
    ):
        return None
    mlp = DenseMLP(
        up, None, down, act, nn.Identity(), None, nn.Identity() if drop is None else drop
    )
    return mlp, AddAndNorm(getattr(second, "LayerNorm", None))
