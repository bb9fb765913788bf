"""How fast routers without a balance loss balance skewed tokens; printed as the table of the docs.

`python -m tests.routers.balanced.loads` prints it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moesuite.routers import build_router
from moesuite.routing.router import LayerSpec
from tests.routers.by_hand import logits_as_input

EXPERTS, MANY, FEW = 8, 32768, 1024
STEPS = (0, 1, 5, 10, 50)
CASES = [
    *((name, k, MANY) for k in (1, 2) for name in ("loss_free", "quantile_balanced")),
    ("quantile_balanced", 1, FEW),
]


def skewed(tokens: int = MANY) -> Tensor:
    """Return tokens that are their logits: normal, with means from 1 for the first expert to -1."""
    return torch.randn(16, tokens // 16, EXPERTS) + torch.linspace(1, -1, EXPERTS)


def loads(name: str, k: int, tokens: int = MANY) -> dict[int, Tensor]:
    """Return the loads in evaluation, relative to the mean, after some steps of `tokens` each.

    All are fresh tokens.
    """
    torch.manual_seed(0)
    router = logits_as_input(build_router(name, LayerSpec(EXPERTS, EXPERTS), {"k": k}))
    after = {}
    for step in range(max(STEPS) + 1):
        router.advance()
        if step in STEPS:
            load = router.eval()(skewed()).load().sum(dim=0)
            after[step] = load / load.mean()
        router.train()(skewed(tokens))
    return after


def table() -> str:
    """Return the largest and the smallest load by router, K and steps, as Markdown."""
    lines = [f"| router | K | tokens a step | {' | '.join(f'step {step}' for step in STEPS)} |"]
    lines.append("|---" * (len(STEPS) + 3) + "|")
    for case in CASES:
        cells = [f"{load.min():.2f} to {load.max():.2f}" for load in loads(*case).values()]
        name, k, tokens = case
        lines.append(f"| `{name}` | {k} | {tokens} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
