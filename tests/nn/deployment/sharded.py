"""Train models sharded by FSDP2 on two processes, beside copies that are not.

python -m tests.nn.deployment.sharded token_choice soft
Prints a line of JSON per router: the largest difference of a weight after two steps, and of an
answer in evaluation.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import warnings

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

import moesuite
from moesuite.nn.moe import moe_layers
from tests.nn.deployment.deployed import distance, inputs_of, model_of

WORLD, STEPS = 2, 2


def shard(model: nn.Module) -> None:
    """Shard experts, blocks and the rest, as is usual."""
    for _, layer in moe_layers(model):
        fully_shard(layer.experts)
    for block in model.blocks:  # type: ignore[union-attr]
        fully_shard(block)
    fully_shard(model)


def train(model: nn.Module, rank: int) -> None:
    """Take steps of SGD on this process's images; unsharded gradients are averaged here."""
    optimizer = torch.optim.SGD(model.train().parameters(), 0.5)
    for step in range(STEPS):
        torch.manual_seed(WORLD * step + rank)
        images = inputs_of("vit", 4, WORLD * step + rank, torch.float32)["x"]
        loss = model(images).square().mean() + moesuite.aux_loss(model)
        optimizer.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            if not isinstance(parameter, DTensor):
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                torch.distributed.all_reduce(gradient)
                parameter.grad = gradient / WORLD
        optimizer.step()


def compare(router: str, rank: int) -> dict[str, str | float]:
    """Train a model and its sharded copy."""
    model = model_of("vit", router)
    sharded = copy.deepcopy(model)
    shard(sharded)
    train(model, rank)
    train(sharded, rank)
    weights = zip(model.parameters(), sharded.parameters(), strict=True)
    worst = max(float((one - other.full_tensor()).abs().max()) for one, other in weights)  # type: ignore[operator]
    images = inputs_of("vit", 3, 9, torch.float32)["x"]
    with torch.no_grad():
        answers = distance(sharded.eval()(images), model.eval()(images))
    return {"router": router, "weights": worst, "answers": answers}


def work(rank: int, folder: str, routers: list[str]) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=WORLD
    )
    torch.distributed.init_device_mesh("cpu", (WORLD,))
    for router in routers:
        line = compare(router, rank)
        if rank == 0:
            print(json.dumps(line), flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (folder, sys.argv[1:]), nprocs=WORLD)
