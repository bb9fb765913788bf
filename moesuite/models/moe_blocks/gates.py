"""Trained gates, read by what they compute: on random rows, with random weights of the same shapes.

A gate maps tokens [N, D] to (logits [N, E], combine weights [N, K], experts [N, K]). Logits are
linear in the token; the combine weights may be any function of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from moesuite.models.forward import evaluating
from moesuite.models.moe_blocks.rules import (
    Score,
    groups_of_choices,
    rule_of_weights,
    score_of_choices,
    scores_of,
)

ROWS = 1024  # of the check: some rules differ in few of a hundred
# of a module that is called in another way than it expects
FAILURES = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
CORRECTIONS = ("e_score_correction_bias", "expert_bias")  # added to the scores that choose experts


Decision = tuple[Tensor, Tensor, Tensor]  # logits, combine weights, experts


@dataclass(frozen=True)
class TrainedGate:
    """A gate, and what it does.

    Attributes:
        module: of the model.
        linear: its part with the weight [E, D], and a bias [E] or None.
        correction: added to the scores that choose experts, [E]; or None.
        further: further arguments of the module, which its block holds.
        flat: whether it takes tokens as [N, D]; else as [G, T, D].
        k: experts per token.
        normalises: whether a token's combine weights have the same sum in every token.
        scale: that sum; without it, the factor of the scores.
        score: what the combine weights are computed from; empty if that is neither.
        groups: number of groups of experts, of which the best few are chosen first; how many; and
            of how many scores a group's own is the sum. 1, 1 and 1 without groups, or where the
            rule is another.
    """

    module: nn.Module
    linear: Any
    correction: Tensor | None
    further: Mapping[str, Tensor]
    flat: bool
    k: int
    normalises: bool
    scale: float
    score: Score
    groups: tuple[int, int, int]

    @property
    def bias(self) -> nn.Parameter | None:
        """Bias of the logits, [E], or None."""
        return getattr(self.linear, "bias", None)


def read_gate(module: nn.Module, block: nn.Module, num_experts: int) -> TrainedGate | str:
    """Return a gate, or why it cannot be read.

    Args:
        module: the gate.
        block: the module that calls it, and may hold its correction bias.
        num_experts: E.
    """
    linear = _linear(module)
    if isinstance(linear, str):
        return linear
    if len(linear.weight) != num_experts:
        return (
            f"its gate chooses among {len(linear.weight)} experts, and {num_experts} have weights"
        )
    further = _further(module, block)
    if isinstance(further, str):
        return further
    with torch.device("cpu"):  # models are loaded on the meta device
        return _measured(module, linear, further)


def _linear(gate: nn.Module) -> Any:
    """Return the only module with a weight [E, D], or what else there is."""
    linears = [
        part for part in gate.modules() if getattr(getattr(part, "weight", None), "ndim", 0) == 2
    ]
    if len(linears) != 1:
        return "its gate is no linear layer"
    own = {id(value) for value in (linears[0].weight, getattr(linears[0], "bias", None))}
    others = [
        name
        for name, value in gate.named_parameters()
        if id(value) not in own and name.rsplit(".", 1)[-1] not in CORRECTIONS
    ]
    return f"its gate has more weights: {', '.join(others)}" if others else linears[0]


def _further(gate: nn.Module, block: nn.Module) -> dict[str, Tensor] | str:
    """Return the arguments of a gate besides tokens, by name."""
    further = {}
    for name, parameter in list(inspect.signature(gate.forward).parameters.items())[1:]:
        value = getattr(block, name, None)
        if isinstance(value, Tensor):
            further[name] = value
        elif parameter.default is inspect.Parameter.empty:
            return f"its gate also takes {name}"
    return further


def _correction(gate: nn.Module, further: Mapping[str, Tensor]) -> Tensor | None:
    """Return the bias that only chooses experts, or None."""
    named = {**dict(gate.named_parameters()), **dict(gate.named_buffers()), **further}
    biases = [value for name, value in named.items() if name.rsplit(".", 1)[-1] in CORRECTIONS]
    return biases[0].detach().flatten() if biases else None


@torch.no_grad()
def _measured(gate: nn.Module, linear: Any, further: dict[str, Tensor]) -> TrainedGate | str:
    """Run a gate with random weights, and return what it does with its logits."""
    random = torch.Generator().manual_seed(0)
    num_experts, dim = linear.weight.shape
    x, weight, bias = (
        torch.randn(shape, generator=random, dtype=torch.float32)
        for shape in ((1, ROWS, dim), (num_experts, dim), (num_experts,))
    )
    weight *= 3 / dim**0.5
    replaced = {id(linear.weight): weight, id(getattr(linear, "bias", None)): bias}
    named = {**dict(gate.named_parameters()), **dict(gate.named_buffers())}
    state = {name: replaced.get(id(value), blank(value)) for name, value in named.items()}
    rest = {name: blank(value) for name, value in further.items()}
    outcome = _run(gate, state, x, rest)
    if outcome is None:
        return "its gate does not return logits, weights and experts of tokens alone"
    flat, (logits, weights, experts) = outcome
    logits, weights, experts = (
        value.float().reshape(ROWS, -1) for value in (logits, weights, experts)
    )
    expected = F.linear(x[0], weight, bias if getattr(linear, "bias", None) is not None else None)
    if logits.shape != expected.shape or not torch.allclose(logits, expected, atol=1e-3):
        return "the logits of its gate are not linear in the token"
    served = (experts < num_experts).all(dim=1)
    seen = logits[served], weights[served], experts[served].long()
    rule = normalises, scale, score = rule_of_weights(*seen)
    correction = _correction(gate, further)
    if correction is not None and normalises and weights.shape[1] == 1:
        # the weight is a constant: which scores are corrected tells which there are
        push = torch.randn(num_experts, generator=random) / 3
        corrected = _run(gate, _corrected(state, push), x, _corrected(rest, push))
        if corrected is not None:
            score = score_of_choices(expected, corrected[1][2].reshape(ROWS, -1).long(), push)
            rule = normalises, scale, score
    groups = groups_of_choices(scores_of(seen[0], score), seen[2])
    return TrainedGate(gate, linear, correction, further, flat, weights.shape[1], *rule, groups)


def blank(value: Tensor) -> Tensor:
    """Return zeros of the shape of a weight, in float32 if it is in half precision."""
    dtype = torch.float32 if value.is_floating_point() else value.dtype
    return torch.zeros(value.shape, dtype=dtype)


def _run(
    gate: nn.Module, state: dict[str, Tensor], x: Tensor, rest: dict[str, Tensor]
) -> tuple[bool, Decision] | None:
    """Return whether a gate takes tokens [N, D] or [G, T, D], and its decision; None for neither.

    One that counts the tokens of a sequence takes the sequence.
    """
    for flat in (True, False):
        try:
            with evaluating(gate):
                output = functional_call(gate, state, (x[0] if flat else x,), rest)
        except FAILURES:
            continue
        read = decision(output)
        if read is not None and not (flat and read is not output):
            return flat, read
    return None


def decision(output: Any) -> Decision | None:
    """Return logits, combine weights and experts from what a gate returns; None if it cannot be.

    Switch Transformers return the choice as a one-hot row, zero where a token is dropped, in place
    of logits, and these last.
    """
    if not (
        isinstance(output, tuple)
        and len(output) == 3
        and all(isinstance(value, Tensor) for value in output)
    ):
        return None
    first, weights, last = output
    if not last.is_floating_point() and weights.shape == last.shape:
        return output
    if not first.is_floating_point() and first.shape == last.shape and weights.shape[-1] == 1:
        dropped = first.sum(dim=-1, keepdim=True) == 0
        experts = first.argmax(dim=-1, keepdim=True).masked_fill(dropped, first.shape[-1])
        return last, weights, experts
    return None


def _corrected(values: Mapping[str, Tensor], push: Tensor) -> dict[str, Tensor]:
    """Return the values, those that correct scores replaced."""
    return {
        name: push.view(value.shape) if name.rsplit(".", 1)[-1] in CORRECTIONS else value
        for name, value in values.items()
    }
