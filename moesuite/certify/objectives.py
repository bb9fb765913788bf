"""Training signals: which parameters get gradient, and that auxiliary losses are means."""

from __future__ import annotations

from functools import lru_cache
from statistics import fmean

import torch
from torch import Tensor

from moesuite.certify.harness import KINDS, Subject, seeded, twin_of
from moesuite.certify.isolation import MODE, masks
from moesuite.certify.repeatability import is_random
from moesuite.records.certificate import Check

TIMES = 4  # as many groups, or as long
DRAWS = 6  # passes of a router that draws at random
EXACT, LOOSE = 1e-3, 0.25  # of losses, relative; loose for means of random draws
LONGER = 0.1  # in longer groups, rounding may fill slots differently


def auxiliary_losses(subject: Subject) -> Check:
    """Auxiliary losses do not grow with repeated or longer groups, and ignore padding."""
    drawn = is_random(subject)
    x, room = subject.inputs(), LOOSE if drawn else EXACT
    for training in (False, True):
        base = _losses(subject, x, training)
        more = {
            f"{TIMES} times as many groups": (x.repeat(TIMES, 1, 1), room),
            f"groups {TIMES} times as long": (x.repeat(1, TIMES, 1), max(room, LONGER)),
        }
        for name, value in base.items():
            for how, (tokens, tolerance) in more.items():
                other = _losses(subject, tokens, training).get(name, float("nan"))
                shrinks = drawn and abs(other) < abs(value)  # as the variation of random sums does
                if not shrinks and not _close(other, value, tolerance):
                    how = (
                        f"{other / value:.3g} times as large for {how}"
                        if value
                        else f"not 0 for {how}"
                    )
                    return Check(
                        holds=False, claimed=True, detail=f"loss {name!r} {MODE[training]}: {how}"
                    )
        if seen := _sees_padding(subject, training, room):
            return Check(
                holds=False, claimed=True, detail=f"loss {seen!r} {MODE[training]} sees padding"
            )
    if not base:
        return Check(holds=None, detail="no auxiliary loss")
    return Check(holds=True, claimed=True)


def _close(ours: float, theirs: float, tolerance: float) -> bool:
    return abs(ours - theirs) <= tolerance * max(abs(ours), abs(theirs)) + 1e-9


def _losses(
    subject: Subject, x: Tensor, training: bool, mask: Tensor | None = None
) -> dict[str, float]:
    """Return the losses of a copy, averaged over several draws if it draws at random."""
    values: dict[str, list[float]] = {}
    layer = subject.layer()
    for draw in range(DRAWS if training and is_random(subject) else 1):
        router = twin_of(layer, training).router
        with torch.no_grad(), seeded(draw, subject.device):
            losses = router(x.clone(), mask).losses
        for name, loss in losses.items():
            values.setdefault(name, []).append(float(loss))
    return {name: fmean(draws) for name, draws in values.items()}


def _sees_padding(subject: Subject, training: bool, room: float) -> str:
    """Return the name of a loss that depends on padding or its content, or an empty string."""
    x = subject.inputs()
    for side, mask in masks(subject).items():
        first, second = (
            _losses(subject, x.masked_fill(~mask[..., None], value), training, mask)
            for value in (7.0, -30.0)
        )
        for name, value in first.items():
            if not _close(second[name], value, EXACT):
                return name
        if side != "right":
            continue
        real = mask.sum(dim=1).min()
        short = x[:, :real]
        padded = torch.cat([short, torch.full_like(short, 7.0)], dim=1)
        alone, beside = (
            _losses(subject, short, training),
            _losses(
                subject,
                padded,
                training,
                torch.arange(2 * int(real), device=x.device).expand(len(x), -1) < real,
            ),
        )
        for name, value in alone.items():
            if not _close(beside[name], value, room):
                return name
    return ""


@lru_cache(maxsize=2)
def gradients(subject: Subject) -> tuple[Check, Check, Check]:
    """Check gradients of every router parameter: by the task loss, auxiliary losses, and both."""
    names = [name for name, _ in subject.layer().router.named_parameters()]
    if not names:
        nothing = Check(holds=None, detail="no parameters")
        return nothing, nothing, nothing
    checks = []
    for task, auxiliary in ((True, False), (False, True), (True, True)):
        grads = _gradients(subject, subject.inputs(), task, auxiliary)
        if grads is None:
            checks.append(Check(holds=None, detail="no auxiliary loss"))
            continue
        missing = [name for name in names if (grad := grads[name]) is None or not grad.any()]
        checks.append(
            Check(holds=not missing, detail="none for " + ", ".join(missing) if missing else "")
        )
    return checks[0], checks[1], checks[2]


def _gradients(
    subject: Subject, x: Tensor, task: bool, auxiliary: bool
) -> dict[str, Tensor | None] | None:
    """Return the gradients of a router's parameters in training, or None without a loss."""
    layer = subject.layer().train()
    with seeded(0, subject.device):
        y = layer(x.clone())
    losses = [loss for _, loss in layer.context.losses if loss.requires_grad]
    terms = ([y.square().mean()] if task else []) + (losses if auxiliary else [])
    if not terms:
        return None
    torch.stack(terms).sum().backward()
    return {name: p.grad for name, p in layer.router.named_parameters()}


def gradient_task(subject: Subject) -> Check:
    """Every parameter gets gradient through the task loss alone."""
    return gradients(subject)[0]


def gradient_auxiliary(subject: Subject) -> Check:
    """Every parameter gets gradient through the auxiliary losses alone."""
    return gradients(subject)[1]


def gradient(subject: Subject) -> Check:
    """Every parameter gets gradient through all losses together, finite for all kinds of tokens."""
    both = gradients(subject)[2]
    if both.holds is None:
        return both
    for kind in KINDS:
        grads = _gradients(subject, subject.inputs(kind=kind), True, True)
        wrong = [
            name
            for name, grad in (grads or {}).items()
            if grad is not None and not grad.isfinite().all()
        ]
        if wrong:
            return Check(
                holds=False, claimed=True, detail=f"NaN or infinity for {wrong[0]}, {kind} tokens"
            )
    return both.model_copy(update={"claimed": True})
