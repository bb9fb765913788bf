"""Start of an upcycled run: the step, learning rate and optimizer state of the dense run.

Komatsuzaki et al., "Sparse Upcycling" (2022), https://arxiv.org/abs/2212.05055, section 3 and
appendix A.1: the schedule continues without a jump, with the dense run's batch size and weight
decay. For images the optimizer state continues too, with the moments of each expert copied from its
MLP; for language it starts anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moesuite.config.schema import RunConfig
from moesuite.errors import UserError
from moesuite.nn.moe import moe_layers
from moesuite.records.identity import content_of
from moesuite.records.record import Sunk
from moesuite.records.store import atomic
from moesuite.surgery.weights import OURS, SHOWN, misfits, read_checkpoint
from moesuite.train.optim import MOMENTS, build_optimizer, learning_rate, parameter_groups

NEW = ("router", "shared", "null")  # parts of a layer that are no copies of its MLP
JUMP = 0.01  # largest relative change of the learning rate at the first step
Surgery = Callable[[nn.Module], nn.Module]  # dense model -> upcycled model


def take_weights(dense: nn.Module, checkpoint: str) -> None:
    """Copy all weights of a dense run into `dense`.

    Raises:
        UserError: for a file that is not a checkpoint of a dense run of this backbone; names the
            first five weights that do not fit.
    """
    weights = read_checkpoint("upcycle", checkpoint)[1]
    expected = dense.state_dict()
    unknown = sorted(weights.keys() - expected.keys())
    if any(".experts." in name for name in unknown):
        raise UserError(
            f"upcycle={checkpoint}: this model has MoE layers; "
            "allowed: the checkpoint of a run of router=dense"
        )
    problem = misfits(expected, weights)
    if not problem and unknown:
        problem = f"weights that this model lacks: {', '.join(unknown[:SHOWN])}"
    if problem:
        raise UserError(
            f"upcycle={checkpoint}: {problem}; allowed: a run of router=dense with the same "
            "backbone, task and head; to change these, type upcycle_state=weights"
        )
    dense.load_state_dict({name: weights[name] for name in expected})


class Handover:
    """State of a dense run that an upcycled run continues from.

    Args:
        config: of the upcycled run.
        steps: of the upcycled run, including those of the dense one; 0: only evaluate.

    Raises:
        UserError: if no step is left, or the learning rate would jump.

    Attributes:
        sunk: cost of the dense run until it stopped.
    """

    def __init__(self, config: RunConfig, steps: int) -> None:
        assert config.upcycle is not None
        self.config = config
        self.path = config.upcycle
        self.steps = steps
        self.checkpoint = read_checkpoint("upcycle", self.path)[0]
        callbacks = self.checkpoint["callbacks"].items()
        self.curve = {name: state for name, state in callbacks if name.startswith("Curve")}
        figures: dict[str, float] = next(iter(self.curve.values()), {})
        self.sunk = Sunk(
            checkpoint=self.path,
            content=str(content_of(self.path, "upcycle")),
            steps=self.checkpoint["global_step"],
            seconds=figures.get("seconds", 0.0),
            flops=figures.get("flops", 0.0),
        )
        if steps:
            self._check()

    def _check(self) -> None:
        step = self.sunk.steps
        if 0 <= self.steps <= step:
            raise UserError(
                f"upcycle={self.path}: the dense run stopped at step {step}, and this one ends at "
                f"step {self.steps}, counted from the dense run's first; "
                f"type e.g. trainer.max_steps={2 * step}"
            )
        (schedule,) = self.checkpoint["lr_schedulers"]
        before = schedule["_last_lr"][0]
        after = self._learning_rate()
        if abs(after - before) > JUMP * before:
            raise UserError(
                f"upcycle={self.path}: the learning rate would jump from {before:.3g} to "
                f"{after:.3g} at step {step}; allowed: optim.* of the dense run, with a schedule "
                "that does not depend on the last step; type e.g. optim.schedule=rsqrt "
                "optim.warmup=100 for both, or upcycle_state=weights to start anew"
            )

    def _learning_rate(self) -> float:
        """Return the learning rate of the first step."""
        optim = self.config.optim
        return optim.lr * learning_rate(self.sunk.steps, self.steps, optim)

    def write(self, path: Path, dense: nn.Module, model: nn.Module, surgery: Surgery) -> Path:
        """Write the checkpoint that the upcycled run starts from, and return its path.

        Args:
            path: to write to, atomically: each process of a multi-device run writes it.
            dense, model: before and after surgery, with their weights.
            surgery: made `model` from `dense`; applied to the moments too.
        """
        weights = {f"{OURS}{name}": value for name, value in model.state_dict().items()}
        others = {
            name: value
            for name, value in self.checkpoint["state_dict"].items()
            if not name.startswith(OURS)
        }
        optimizer = self._optimizer_state(dense, model, surgery)
        base_lrs = [self.config.optim.lr] * len(optimizer["param_groups"])
        (schedule,) = self.checkpoint["lr_schedulers"]
        start = {
            **self.checkpoint,
            "state_dict": weights | others,
            "optimizer_states": [optimizer],
            "lr_schedulers": [{**schedule, "base_lrs": base_lrs}],
            "callbacks": self.curve,
        }
        with atomic(path) as part:
            torch.save(start, part)
        return path

    def _optimizer_state(
        self, dense: nn.Module, model: nn.Module, surgery: Surgery
    ) -> dict[str, Any]:
        (of_dense,) = self.checkpoint["optimizer_states"]
        resumes = self.config.upcycle_state == "resume"
        state = moments(of_dense["state"], dense, model, surgery) if resumes else {}
        # as the run itself will build it
        fused = "mixed" not in str(self.config.trainer["precision"])
        optimizer, _ = build_optimizer(model, self.config.optim, self.steps, fused)
        groups = optimizer.state_dict()["param_groups"]
        for group in groups:
            group["lr"] = self._learning_rate()
        return {"state": state, "param_groups": groups}


def _names(model: nn.Module) -> list[str]:
    """Return the names of the optimizer's parameters, in its order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 0.0)
    return [names[id(parameter)] for parameter in chain(*(group["params"] for group in groups))]


def moments(
    state: dict[int, dict[str, Tensor]], dense: nn.Module, model: nn.Module, surgery: Surgery
) -> dict[int, dict[str, Tensor]]:
    """Return the optimizer state after surgery; what is new starts at its first step.

    New are routers, and what layers have beside their experts. A model whose weights are the
    moments passes through the same surgery, so that experts hold copies of those of their MLP.

    Args:
        state: of the dense run's optimizer: by index of the parameter, step and moments.
        dense, model: before and after surgery.
        surgery: made `model` from `dense`.
    """
    if not state:  # stopped before the first step
        return {}
    before = _names(dense)
    by_moment = {
        moment: _after_surgery(
            dense, {before[index]: state[index][moment] for index in state}, surgery
        )
        for moment in MOMENTS
    }
    new = tuple(f"{name}.{part}." for name, _ in moe_layers(model) for part in NEW)
    step = next(iter(state.values()))["step"]
    return {
        index: {"step": step.clone(), **{moment: by_moment[moment][name] for moment in MOMENTS}}
        for index, name in enumerate(_names(model))
        if not name.startswith(new)
    }


@torch.no_grad()
def _after_surgery(
    dense: nn.Module, values: dict[str, Tensor], surgery: Surgery
) -> dict[str, Tensor]:
    """Return `values` of the dense parameters after surgery, by the names of the new parameters."""
    twin = copy.deepcopy(dense)
    for name, parameter in twin.named_parameters():
        parameter.copy_(values[name]) if name in values else parameter.zero_()
    return {name: parameter.detach() for name, parameter in surgery(twin).named_parameters()}
