"""Probes of the frozen features of an image model, and adversarial attacks on its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Gt, Le
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

Images = Float[Tensor, "B channels height width"]
Labels = Int[Tensor, "B"]
# as reported since V-MoE (Riquelme et al. 2021): 10 images a class, the mean of 5 draws
SHOTS = 10
DRAWS = 5
PROBE_STEPS = 1000  # of L-BFGS at most
PGD_STEPS = 10
PGD_STEP = 0.25  # of the radius, in each step


@dataclass(frozen=True)
class Probing:
    """Probes of frozen features, and adversarial attacks.

    Attributes:
        probes: probes of frozen features: linear (whole training split), ten_shot (10 images a
            class).
        attacks: adversarial attacks on the test images: fgsm, pgd.
        attack_radius: largest change of a pixel of 0..255 by an attack, in (0, 255].
    """

    probes: list[Literal["linear", "ten_shot"]] = field(default_factory=lambda: [])
    attacks: list[Literal["fgsm", "pgd"]] = field(default_factory=lambda: [])
    attack_radius: Annotated[float, Gt(0), Le(255)] = 4.0


@torch.no_grad()
def features(
    model: nn.Module, batches: Iterable[tuple[Images, Labels]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs of the head of a timm model [N, D], and the labels [N]."""
    timm: Any = model
    pairs = [(timm.forward_head(timm.forward_features(x), pre_logits=True), y) for x, y in batches]
    inputs, labels = (torch.cat(part).double().cpu().numpy() for part in zip(*pairs, strict=True))
    return inputs, labels


def linear_probe(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> float:
    """Return the accuracy of logistic regression on standardised features of the training split."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_STEPS))
    return float(model.fit(*train).score(*test))


def ten_shot(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the mean accuracy of a ridge classifier fitted on draws of 10 images a class."""
    from sklearn.linear_model import RidgeClassifier

    x, y = train
    scores = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        rows = np.concatenate(
            [rng.permutation(np.flatnonzero(y == label))[:SHOTS] for label in np.unique(y)]
        )
        scores.append(RidgeClassifier().fit(x[rows], y[rows]).score(*test))
    return float(np.mean(scores))


PROBES = {"linear": linear_probe, "ten_shot": ten_shot}


class Attack:
    """Adversarial images within `radius` of the original ones in each pixel (L-infinity).

    fgsm: one step of the whole radius along the sign of the gradient (Goodfellow et al. 2015,
    https://arxiv.org/abs/1412.6572); pgd: 10 steps of a quarter, projected, from a random start
    (Madry et al. 2018, https://arxiv.org/abs/1706.06083).

    Args:
        kind: fgsm or pgd.
        radius: of pixels in 0..1, > 0.
        mean, std: [channels] that images were normalised with.
    """

    def __init__(
        self, kind: Literal["fgsm", "pgd"], radius: float, mean: Tensor, std: Tensor
    ) -> None:
        self.kind = kind
        mean, std = mean.view(-1, 1, 1), std.view(-1, 1, 1)
        self.radius = radius / std
        self.low, self.high = -mean / std, (1 - mean) / std

    def __call__(self, model: Callable[[Tensor], Tensor], images: Images, labels: Labels) -> Images:
        """Return attacked images, normalised like the original ones."""
        radius = self.radius.to(images)
        if self.kind == "fgsm":
            return self._clip(images + radius * self._direction(model, images, labels), images)
        generator = torch.Generator(images.device).manual_seed(0)
        start = torch.empty_like(images).uniform_(-1, 1, generator=generator)
        attacked = self._clip(images + radius * start, images)
        for _ in range(PGD_STEPS):
            step = PGD_STEP * radius * self._direction(model, attacked, labels)
            attacked = self._clip(attacked + step, images)
        return attacked

    def _direction(
        self, model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor
    ) -> Tensor:
        with torch.enable_grad():
            images = images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(images), labels), images)
        return gradient.sign()

    def _clip(self, attacked: Tensor, images: Tensor) -> Tensor:
        """Stay within the radius, and within what an image can show."""
        radius, low, high = (value.to(images) for value in (self.radius, self.low, self.high))
        near = torch.minimum(torch.maximum(attacked, images - radius), images + radius)
        return torch.minimum(torch.maximum(near, low), high)


def frozen(
    model: nn.Module,
    batches: Callable[[str], Iterator[tuple[Tensor, Tensor]]],
    probes: Sequence[str],
    attacks: Sequence[Attack],
) -> dict[str, float]:
    """Return the accuracy of each probe, and under each attack.

    Args:
        model: of timm, in evaluation.
        batches: of a split: "train" or "test".
        probes: names among `PROBES`.
        attacks: on the test images.
    """
    accuracy: dict[str, float] = {}
    if probes:
        train, test = features(model, batches("train")), features(model, batches("test"))
        accuracy |= {probe: PROBES[probe](train, test) for probe in probes}
    for attack in attacks:
        correct = [
            (model(attack(model, x, y)).argmax(dim=1) == y).float() for x, y in batches("test")
        ]
        accuracy[attack.kind] = torch.cat(correct).mean().item()
    return accuracy
