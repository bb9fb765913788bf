"""The static-shape path compiles to one graph, and computes the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moesuite.discovery.names import router_names
from tests.conftest import Command

# the shapes of their routings depend on the data, or their assignment is computed outside torch
DYNAMIC = {
    "base",
    "comparison",
    "expert_threshold",
    "relu",
    "token_rounding",
    "usmoe",
}
CODE = """
import copy, json, sys, torch
from moesuite import LayerSpec, MoE
from moesuite.nn.experts import Experts
from moesuite.routers import build_router
from moesuite.certify.harness import small_mlp

worst = {}
for name in sys.argv[2:]:
    torch.compiler.reset()
    torch.manual_seed(0)
    router = build_router(name, LayerSpec(16, 4, 1.0, tokens=24), {})
    eager = MoE(router, Experts(small_mlp(16, 32), 4)).train()
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True, backend=sys.argv[1])
    results = []
    for layer in (eager, compiled):
        x = torch.randn(3, 24, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        torch.manual_seed(2)
        y = layer(x)
        (y.square().sum() + sum(loss for _, loss in layer.context.losses)).backward()
        results.append([y, x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)])
    worst[name] = max(float((a - b).abs().max()) for a, b in zip(*results, strict=True))
print(json.dumps(worst))
"""


@pytest.mark.parametrize(
    ("backend", "names"),
    [
        pytest.param("aot_eager", sorted(set(router_names()) - DYNAMIC), marks=pytest.mark.slow),
        pytest.param("inductor", ["expert_choice", "soft"], marks=pytest.mark.slow),
    ],
)
def test_slots_compile_with_no_graph_break(
    backend: str, names: list[str], command: Command, tmp_path: Path
) -> None:
    """In a process of its own: beartype, which checks shapes in tests, cannot be compiled."""
    (tmp_path / "compiled.py").write_text(CODE, encoding="utf-8")
    done = command("compiled", backend, *names)
    assert done.returncode == 0, done.stderr[-2000:]
    worst = json.loads(done.stdout.splitlines()[-1])
    assert set(worst) == set(names) and max(worst.values()) < 1e-4, worst
