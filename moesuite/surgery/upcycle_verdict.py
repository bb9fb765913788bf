"""Where an upcycled model starts, in words: at the dense model or how far off, why, and what to type. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from moesuite.records.record import UpcycledLayer

SAME = 0.01  # of the largest dense answer: room for weights in bfloat16
TYPED = "type renormalise=true (renormalise=True in Python)"


def verdict(layers: Sequence[UpcycledLayer], renormalised: bool, expert_noise: float = 0.0) -> str:
    """Return where a model with these layers starts.

    Args:
        layers: receipts of the new layers; none: nothing was upcycled.
        renormalised: whether the combine weights of each token are divided by their sum.
        expert_noise: standard deviation of the noise on the experts' weights, >= 0.
    """
    if not layers:
        return ""
    worst = max(layers, key=lambda layer: _off(layer))
    unserved = fmean(layer.unserved for layer in layers)
    where = f"{worst.layer}: |difference| {worst.served_difference:.3g} of {worst.scale:.3g}"
    if _off(worst) <= SAME:
        text = f"starts at the dense model (largest difference {_off(worst):.1e} of its answers)"
    elif expert_noise:
        text = f"starts off by {_off(worst):.0%} ({where}), by noise on the experts; type expert_noise=0"
    elif renormalised or worst.weights is None or abs(worst.weights - 1) <= SAME:
        text = f"starts off by {_off(worst):.0%} ({where}): experts get mixtures of tokens, or weights do not sum to 1"
    else:
        text = f"starts off by {_off(worst):.0%} ({where}): combine weights sum to {worst.weights:.2f}; {TYPED}"
    if unserved:
        text += (
            f"; {unserved:.1%} of the tokens have no expert, and nothing in its place; "
            "type a larger slots_per_token"
        )
    if renormalised and all(layer.experts == 1 for layer in layers):
        text += "; one expert a token has weight 1 whatever the router says: it learns by its auxiliary loss alone, "
        text += "type router.k=2 (k=2 in Python) where the router has it"
    return text


def _off(layer: UpcycledLayer) -> float:
    return layer.served_difference / max(layer.scale, 1e-12)
