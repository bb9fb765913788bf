"""Shared experts: MLPs that serve every token, beside the experts that a router chooses.

Dai et al., "DeepSeekMoE" (2024), https://arxiv.org/abs/2401.06066, equation 9, with K_s shared
experts; the residual u is the model's own:

    h = u + Σ_{i <= K_s} FFN_i(u) + Σ_{i > K_s} g_i FFN_i(u)

They start as copies of the MLP, whose hidden units they share out: unit h speaks in expert h mod
K_s alone, its outgoing weights are 0 in the others, and the bias is divided by K_s. So their sum is
the MLP, whatever K_s is. Not in the paper, where they start at random: whole copies would get the
same gradient at every step, and stay one expert for ever. Nor is the paper's segmentation of
experts: each has the width of the MLP.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moesuite.nn.experts import DenseMLP, Experts


class SharedExperts(nn.Module):
    """S experts on every token, [..., D] -> [..., D]; together they start as `mlp`.

    Args:
        mlp: the dense MLP; its activation and dropouts are shared, not copied.
        num_experts: S, >= 1.
    """

    def __init__(self, mlp: DenseMLP, num_experts: int) -> None:
        super().__init__()
        self.experts = Experts(mlp, num_experts)
        _share_out(self.experts)

    @property
    def num_experts(self) -> int:
        """S."""
        return self.experts.num_experts

    def forward(self, x: Float[Tensor, "*shape D"]) -> Float[Tensor, "*shape D"]:
        """Return the sum of their outputs."""
        tokens = x.reshape(-1, x.shape[-1])
        outputs: Tensor = self.experts(tokens.expand(self.num_experts, *tokens.shape))
        return outputs.sum(dim=0).reshape(x.shape)


@torch.no_grad()
def _share_out(experts: Experts) -> None:
    """Let each hidden unit speak in one of the experts only."""
    weight, bias = experts.down.weight, experts.down.bias  # [S, H, D], [S, D]
    expert = torch.arange(experts.num_experts, device=weight.device)
    unit = torch.arange(weight.shape[1], device=weight.device)
    weight.mul_((unit % experts.num_experts == expert[:, None])[..., None])
    if bias is not None:
        bias.div_(experts.num_experts)
