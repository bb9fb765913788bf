"""Where an upcycled run starts: at the step, the learning rate and the optimizer state at which a dense run stopped.

Komatsuzaki et al., "Sparse Upcycling" (2022), https://arxiv.org/abs/2212.05055, section 3 and
appendix A.1: the schedule goes on without a jump, with the dense run's batch size and weight decay;
for images the optimizer's state goes on too, the moments of every expert being copies of its MLP's;
for language it starts anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from moesuite.config.schema import RunConfig
from moesuite.errors import UserError
from moesuite.nn.moe import moe_layers
from moesuite.records.identity import content_of
from moesuite.records.record import Sunk
from moesuite.records.store import atomic
from moesuite.surgery.weights import OURS, SHOWN, misfits, read_checkpoint
from moesuite.train.optim import build_optimizer, learning_rate, parameter_groups

JUMP = 0.01  # of the learning rate at the first step, relative: more is refused
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's
Surgery = Callable[[nn.Module], nn.Module]  # a dense model in, the upcycled one out


def take_weights(dense: nn.Module, checkpoint: str) -> None:
    """Copy the weights of a dense run into `dense`, all of them.

    Raises:
        UserError: for a file that is no checkpoint of a dense run of this backbone; names the first
            five weights that do not fit.
    """
    given, own = read_checkpoint("upcycle", checkpoint)[1], dense.state_dict()
    foreign = sorted(given.keys() - own.keys())
    if any(".experts." in name for name in foreign):
        raise UserError(
            f"upcycle={checkpoint}: this model has MoE layers; allowed: the checkpoint of a run of router=dense"
        )
    if not (wrong := misfits(own, given)) and foreign:
        wrong = f"weights that this model lacks: {', '.join(foreign[:SHOWN])}"
    if wrong:
        raise UserError(
            f"upcycle={checkpoint}: {wrong}; allowed: a run of router=dense with the same backbone, task and head; to "
            "change these, type upcycle_state=weights"
        )
    dense.load_state_dict({name: given[name] for name in own})


class Handover:
    """What a dense run hands over.

    Args:
        config: of the run that goes on.
        steps: of it, those of the dense one among them; 0: it is only evaluated.

    Raises:
        UserError: if no step is left, or the learning rate would jump.

    Attributes:
        sunk: what the dense run had cost when it stopped.
    """

    def __init__(self, config: RunConfig, steps: int) -> None:
        assert config.upcycle is not None
        self.config, self.path, self.steps = config, config.upcycle, steps
        self.loaded = read_checkpoint("upcycle", self.path)[0]
        self.curve = {
            name: state
            for name, state in self.loaded["callbacks"].items()
            if name.startswith("Curve")
        }
        curve: dict[str, float] = next(iter(self.curve.values()), {})
        seconds, flops = curve.get("seconds", 0.0), curve.get("flops", 0.0)
        content = str(content_of(self.path, "upcycle"))
        done = self.loaded["global_step"]
        self.sunk = Sunk(
            checkpoint=self.path, content=content, steps=done, seconds=seconds, flops=flops
        )
        if steps:
            self._check()

    def _check(self) -> None:
        step, optim, steps = self.sunk.steps, self.config.optim, self.steps
        if 0 <= steps <= step:
            raise UserError(
                f"upcycle={self.path}: the dense run stands at step {step}, and this one ends at step {steps}, counted "
                f"from the dense run's first; type for example trainer.max_steps={2 * step}"
            )
        (schedule,) = self.loaded["lr_schedulers"]
        before, after = schedule["_last_lr"][0], optim.lr * learning_rate(step, steps, optim)
        if abs(after - before) > JUMP * before:
            raise UserError(
                f"upcycle={self.path}: the learning rate would jump from {before:.3g} to {after:.3g} at step {step}; "
                "allowed: optim.* of the dense run with a schedule that does not depend on the last step; type for "
                "example optim.schedule=rsqrt optim.warmup=100 for both, or upcycle_state=weights to begin anew"
            )

    def write(self, path: Path, dense: nn.Module, model: nn.Module, surgery: Surgery) -> Path:
        """Write the checkpoint that the upcycled run starts from, whole or not at all, and return its path.

        Args:
            path: to write to.
            dense, model: before and after surgery, with their weights.
            surgery: what made the model; applied to the moments too.
        """
        others = {
            name: value
            for name, value in self.loaded["state_dict"].items()
            if not name.startswith(OURS)
        }
        weights = {f"{OURS}{name}": value for name, value in model.state_dict().items()}
        (old,) = self.loaded["optimizer_states"]
        resumes = self.config.upcycle_state == "resume"
        state = moments(old["state"], dense, model, surgery) if resumes else {}
        optim = self.config.optim
        fused = "mixed" not in str(
            self.config.trainer["precision"]
        )  # as the run itself will build it
        groups = build_optimizer(model, optim, self.steps, fused)[0].state_dict()["param_groups"]
        for group in groups:
            group["lr"] = optim.lr * learning_rate(self.sunk.steps, self.steps, optim)
        (schedule,) = self.loaded["lr_schedulers"]
        schedules = [{**schedule, "base_lrs": [optim.lr] * len(groups)}]
        optimizer = {"state": state, "param_groups": groups}
        start = {
            "state_dict": weights | others,
            "optimizer_states": [optimizer],
            "lr_schedulers": schedules,
        }
        with atomic(path) as part:  # each process of a multi-device run writes one
            torch.save({**self.loaded, **start, "callbacks": self.curve}, part)
        return path


def _names(model: nn.Module) -> list[list[str]]:
    """Return the names of the parameters of each group of the optimizer, in its order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        [names[id(parameter)] for parameter in group["params"]]
        for group in parameter_groups(model, 0.0)
    ]


def moments(
    old: dict[int, dict[str, Tensor]], dense: nn.Module, model: nn.Module, surgery: Surgery
) -> dict[int, dict[str, Tensor]]:
    """Return the optimizer's state after surgery; routers have none and start at their own first step.

    A model whose weights are the moments goes through the same surgery: experts then hold copies of
    their MLP's.
    """
    if not old:  # it was stopped before its first step
        return {}
    before = [name for names in _names(dense) for name in names]
    after = [name for names in _names(model) for name in names]
    routers = tuple(f"{name}.router." for name, _ in moe_layers(model))
    made = {
        moment: _operated(dense, {before[n]: old[n][moment] for n in old}, surgery)
        for moment in MOMENTS
    }
    step = next(iter(old.values()))["step"]
    return {
        number: {"step": step.clone(), **{moment: made[moment][name] for moment in MOMENTS}}
        for number, name in enumerate(after)
        if not name.startswith(routers)
    }


@torch.no_grad()
def _operated(dense: nn.Module, values: dict[str, Tensor], surgery: Surgery) -> dict[str, Tensor]:
    """Return `values` of the dense parameters as surgery would leave them, by the names of the new ones."""
    twin = copy.deepcopy(dense)
    for name, parameter in twin.named_parameters():
        parameter.copy_(values[name]) if name in values else parameter.zero_()
    return {name: parameter.detach() for name, parameter in surgery(twin).named_parameters()}
