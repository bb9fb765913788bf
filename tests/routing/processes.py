"""Two processes that train one layer, each on half of a batch."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from moesuite.certify.harness import small_mlp
from moesuite.discovery.names import router_names
from moesuite.errors import UserError
from moesuite.nn.beside.parts import Parts
from moesuite.nn.context import Scope
from moesuite.nn.moe import MoE, unread_losses
from moesuite.routers import build_router
from moesuite.routing.router import LayerSpec
from moesuite.routing.scope import alone

GROUPS, TOKENS, DIM, EXPERTS, WORLD, STEPS = 4, 12, 8, 4, 2, 3
LENGTHS = torch.tensor(
    [12, 9, 5, 0]
)  # real tokens: 21 on the first process, 5 on the second, one group of padding
Case = tuple[str, dict[str, Any], str]
BALANCED: list[tuple[str, dict[str, Any]]] = [
    *(
        (name, {})
        for name in ("token_choice", "noisy_topk", "top_p", "loss_free", "expert_choice_causal")
    ),
    ("quantile_balanced", {"k": 2}),
    ("group_limited", {"sequence_weight": 0.0}),
    ("relu", {"start": 1.0}),  # a penalty that is felt
    ("comparison", {"share": 0.5}),
    ("expert_threshold", {}),
    ("mixture_of_depths", {}),
]
CASES: list[Case] = [
    # which rounds the numbers of one process's tokens
    *((name, {}, "global") for name in router_names() if name != "token_rounding"),
    ("token_choice", {"k": 2, "noise": 1.0, "balance_weight": 1.0, "z_weight": 1.0}, "global"),
    ("loss_free", {"k": 2}, "global"),
    ("group_limited", {"k": 2, "sequence_weight": 1.0}, "global"),
    ("relu", {"start": 1.0}, "global"),
    ("comparison", {"share": 0.5}, "global"),
    ("expert_threshold", {"warmup": 2}, "global"),
    ("token_choice", {"beside": {"dense_gradient": True, "shared_experts": 2}}, "global"),
    *((name, options, "sequence") for name, options in BALANCED),
]
# the second process has no comparison, and so no mean of them
LOCAL: list[Case] = [(name, options, "local") for name, options in BALANCED if name != "comparison"]


class WholeDraws(TorchFunctionMode):
    """Lets each process draw for the whole batch and take its own share.

    Draws are the one thing that two processes do not have in common with one.
    """

    def __init__(self, rank: int, world: int) -> None:
        super().__init__()
        self.rank, self.world = rank, world

    def share(self, draw: Any, shape: Iterable[int]) -> Tensor:
        first, *rest = shape
        return draw((first * self.world, *rest)).chunk(self.world)[self.rank]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.randn_like:
            return self.share(torch.randn, args[0].shape)
        if func is torch.rand:
            return self.share(torch.rand, args[0] if isinstance(args[0], tuple) else args)
        if func is torch.randint:
            return self.share(lambda shape: torch.randint(*args[:2], shape), args[2])
        if func is Tensor.uniform_:
            return self.share(lambda shape: torch.empty(shape).uniform_(*args[1:]), args[0].shape)
        return func(*args, **(kwargs or {}))


def build(case: Case) -> MoE:
    name, options, scope = case
    torch.manual_seed(0)
    spec = LayerSpec(DIM, EXPERTS, 1.0, tokens=TOKENS, balance_scope=scope)  # type: ignore[arg-type]
    own = {key: value for key, value in options.items() if key != "beside"}
    parts = Parts(**options.get("beside", {}))
    layer = parts.layer(build_router(name, spec, own), small_mlp(DIM, 10)).train()
    for parameter in layer.parameters():
        if parameter.ndim >= 2:
            nn.init.normal_(parameter)
    return layer


def share(values: Tensor, rank: int, world: int) -> Tensor:
    return values.chunk(world)[rank]


def train(
    case: Case, rank: int = 0, world: int = 1, steps: int = STEPS, part: int | None = None
) -> list[Tensor]:
    """Return losses, gradients, state and weights of each step of SGD.

    With `part`, train on this half of the batch.
    """
    layer = build(case)
    model = DistributedDataParallel(layer) if world > 1 else layer
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    batches = torch.randn(steps, GROUPS, TOKENS, DIM, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(TOKENS) < LENGTHS[:, None]
    rank, split = (rank, world) if part is None else (part, WORLD)
    seen: list[Tensor] = []
    for step in range(steps):
        torch.manual_seed(step)
        layer.context.scope = Scope(share(mask, rank, split))
        optimizer.zero_grad()
        with WholeDraws(rank, split):
            y = model(share(batches[step], rank, split))
        losses = unread_losses([layer.context])
        (y.square().mean() + sum(losses.values())).backward()
        named = [(name, p) for name, p in layer.named_parameters()]
        if case[0] != "comparison":  # whose value is each process's own
            seen += [loss.detach() for loss in losses.values()]
        seen += [torch.zeros_like(p) if p.grad is None else p.grad.clone() for _, p in named]
        optimizer.step()
        seen += [p.detach().clone() for _, p in named]
        seen += [b.clone() for name, b in layer.named_buffers() if name != "router.last"]
    return seen


def work(rank: int, folder: str) -> None:
    """What each of two processes does."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD, timeout=timedelta(seconds=60)
    )
    found = {str(case): train(case, rank, WORLD) for case in CASES}
    found |= {str(case): train(case, rank, WORLD, steps=1) for case in LOCAL}
    # one process evaluates and measures more than the other: whoever waited for it would add to the
    # sum, or hang
    for name in ("token_choice", "loss_free", "expert_choice_causal") if rank == 0 else ():
        layer = build((name, {}, "global"))
        for training in (False, True):
            with alone() if training else nullcontext():
                layer.train(training)(torch.randn(GROUPS, TOKENS, DIM))
    together = torch.ones(())
    torch.distributed.all_reduce(together)
    try:  # here: in tests beartype would be first
        LayerSpec(4, 2, balance_scope="glabal")  # type: ignore[arg-type]
        told = ""
    except UserError as error:
        told = str(error)
    torch.save({"found": found, "together": together, "told": told}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
