"""Independence of a group's outputs: of other groups, of padding, of the order of tokens."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from moesuite.certify.harness import Subject, difference, output
from moesuite.certify.repeatability import is_random
from moesuite.nn.moe import MoE
from moesuite.records.certificate import Check

TOLERANCE = 1e-4  # float32 sums in another order differ by about 1e-7
MANY = 9  # groups of a larger batch
CROWD, SHORT = 130, 5  # groups of a far larger batch, and their tokens
MODE = {False: "in evaluation", True: "in training"}


def batch_independent(subject: Subject) -> Check:
    """Outputs do not depend on other groups: in evaluation; in training unless declared."""
    worst = {
        mode: max(_coupling(subject, mode), _crowding(subject, mode)) for mode in (False, True)
    }
    coupled = [MODE[training] for training, figure in worst.items() if figure >= TOLERANCE]
    detail = f"depends on the groups beside it {' and '.join(coupled)}" if coupled else ""
    claimed = worst[False] >= TOLERANCE or not subject.layer().router.batch_coupled
    return Check(holds=not coupled, claimed=claimed, figure=max(worst.values()), detail=detail)


def _coupling(subject: Subject, training: bool) -> float:
    """Return how much the output of a group changes with other groups, or without them."""
    figures, drawn = [], training and is_random(subject)
    for budget in (0.5, 1.0):
        for groups in (subject.groups, MANY):
            larger = replace(subject, groups=groups)
            layer, x = (
                larger.layer(slots_per_token=budget * subject.slots_per_token),
                larger.inputs(),
            )
            whole = output(layer, x, training)
            for group in (0, groups - 1):
                for kind in ("Gaussian", "constant"):
                    others = larger.inputs(seed=9, kind=kind)
                    others[group] = x[group]
                    figures.append(difference(output(layer, others, training)[group], whole[group]))
                if not drawn:  # a batch of one draws other numbers
                    figures.append(
                        difference(output(layer, x[group : group + 1], training)[0], whole[group])
                    )
    return max(figures)


def _crowding(subject: Subject, training: bool) -> float:
    """Return how much the output of a group differs between a batch of `CROWD` and alone."""
    if training and is_random(subject):
        return 0.0  # a batch of one draws other numbers
    crowd = replace(subject, groups=CROWD, tokens=SHORT)
    layer, x = crowd.layer(), crowd.inputs()
    whole = output(layer, x, training)
    places = (0, CROWD // 2, CROWD - 1)
    return max(difference(output(layer, x[i : i + 1], training)[0], whole[i]) for i in places)


def masks(subject: Subject) -> dict[str, Tensor]:
    """Return padding masks [G, T], True for real tokens, whose number differs by group."""
    size, device = (subject.groups, subject.tokens), subject.device
    place = torch.arange(subject.tokens, device=device).expand(size)
    real = subject.tokens - 5 - 3 * torch.arange(subject.groups, device=device)[:, None]
    scattered = torch.rand(size, generator=torch.Generator().manual_seed(6)).to(device) < 0.6
    scattered[:, 3] = True
    return {"right": place < real, "left": place >= subject.tokens - real, "scattered": scattered}


def padding_invariant(subject: Subject) -> Check:
    """Padding on the right, left or scattered changes no output of real tokens; it is never routed.

    In training too; if that draws at random, only the content of padding is varied, not its amount.
    """
    drawn, coupled = is_random(subject), subject.layer().router.batch_coupled
    figures, wrong = [0.0], []
    for budget in (0.5, 1.0):
        layer = subject.layer(slots_per_token=budget * subject.slots_per_token)
        for side, mask in masks(subject).items():
            for training in (False, True):
                alone = not training or not (drawn or coupled)
                figures.append(_padding(subject, layer, mask, training, alone))
                if figures[-1] >= TOLERANCE:
                    wrong.append(f"wrong with {side} padding {MODE[training]}")
    detail = wrong[0] if wrong else "in training by its content only: it draws at random" * drawn
    return Check(holds=not wrong, claimed=True, figure=max(figures), detail=detail)


def _padding(subject: Subject, layer: MoE, mask: Tensor, training: bool, alone: bool) -> float:
    """Return the effect of padding: its content, being routed, and its presence.

    Also compares a mask of real tokens only with no mask.
    """
    x = subject.inputs()
    filled = [x.masked_fill(~mask[..., None], value) for value in (7.0, -1e3)]
    first, second = (output(layer, tokens, training, mask) for tokens in filled)
    figures = [difference(second[mask], first[mask])]
    if first[~mask].any():
        return float("inf")
    if mask[:, 0].all():  # not for every mask: once is enough
        everything = torch.ones_like(mask)
        figures.append(
            difference(output(layer, x, training, everything), output(layer, x, training))
        )
    if alone:
        for group, real in enumerate(mask):
            figures.append(
                difference(
                    first[group, real], output(layer, x[group : group + 1, real], training)[0]
                )
            )
    return max(figures)


def equivariant(subject: Subject) -> Check:
    """Tokens in another order give the same outputs in that order, in evaluation."""
    layer, x = subject.layer(), subject.inputs()
    order = torch.randperm(subject.tokens, generator=torch.Generator().manual_seed(3)).to(
        subject.device
    )
    figure = difference(output(layer, x[:, order]), output(layer, x)[:, order])
    detail = "depends on the order of tokens" if figure >= TOLERANCE else ""
    return Check(holds=figure < TOLERANCE, figure=figure, detail=detail)
