"""AdamW with weight-decay groups, and learning-rate schedules per step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from moesuite.config.sections import Optim
from moesuite.errors import UserError
from moesuite.nn.moe import moe_layers
from moesuite.routing.layer import with_dimension

MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters: no decay for biases, norms, other vectors and the model's own exemptions.

    A stacked parameter of experts counts by the shape of one expert: a bias [E, H] is a vector.
    """
    exempt = set(getattr(model, "no_weight_decay", set)())
    stacked = {
        id(parameter) for _, layer in moe_layers(model) for parameter in layer.experts.parameters()
    }
    decay: list[nn.Parameter] = []
    no_decay: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_vector = parameter.ndim - (id(parameter) in stacked) <= 1
        if is_vector or name in exempt or name.split(".")[-1] in exempt:
            no_decay.append(parameter)
        else:
            decay.append(parameter)
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": no_decay, "weight_decay": 0.0},
    ]


def learning_rate(step: int, steps: int, config: Optim) -> float:
    """Return the learning rate of a step, relative to `config.lr`.

    Args:
        step: from 0.
        steps: of the whole run; the inverse square root does not depend on it, unless warm-up is a
            fraction.
        config: `warmup` in steps, or, below 1, as a fraction of `steps`.
    """
    warmup = config.warmup if config.warmup >= 1 else round(config.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "rsqrt":
        return math.sqrt(max(warmup, 1) / (step + 1)) if warmup else 1 / math.sqrt(step + 1)
    low = config.min_lr / config.lr
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))


def check_schedule(config: Optim, steps: int) -> None:
    """Check that the learning rate is defined at every step.

    Raises:
        UserError: if `steps` is -1 (not known) and the schedule depends on it.
    """
    if steps == -1 and (config.schedule == "cosine" or 0 < config.warmup < 1):
        raise UserError(
            f"optim.schedule={config.schedule} with optim.warmup={config.warmup:g} depends on the "
            "number of steps, but only time limits this run; type trainer.max_steps=10000, or "
            "optim.schedule=rsqrt optim.warmup=100"
        )


def build_optimizer(
    model: nn.Module, config: Optim, steps: int, fused: bool = True
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Return AdamW and its schedule over `steps`; `fused` updates a group in one kernel."""
    groups = parameter_groups(model, config.weight_decay)
    optimizer = torch.optim.AdamW(
        groups, config.lr, (config.beta1, config.beta2), config.eps, fused=fused
    )
    optimizer.register_load_state_dict_post_hook(_give_dimension)
    return optimizer, LambdaLR(optimizer, lambda step: learning_rate(step, steps, config))


def _give_dimension(optimizer: torch.optim.Optimizer) -> None:
    """Shape moments saved while a router's number had no dimension like their parameter."""
    for parameter, state in optimizer.state.items():
        for name in MOMENTS:
            state[name] = with_dimension(state[name], parameter)
