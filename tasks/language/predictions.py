"""Losses of single windows, as columns of a file."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from moesuite.task import Batch, Columns
from moesuite.tasks.language.packed import IGNORED, Sliding
from moesuite.tasks.language.reading import Sequences


def window_losses(text: Sequences, batch: Batch, logits: Float[Tensor, "B T V"]) -> Columns:
    """Return the columns of a batch of windows of the test split.

    Args:
        text: as read.
        batch: labels [B, T], and index and domain [B] of each window.
        logits: of the next token, or of a hidden one.
    """
    windows, labels, numbers = text.splits["test"], batch["labels"], batch["index"].tolist()
    assert isinstance(windows, Sliding)
    losses = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(labels)
    is_scored = labels != IGNORED
    tokens = is_scored.sum(dim=1)
    ids = [str(number) for number in numbers]
    if text.domains:
        names = [list(text.domains)[domain] for domain in batch["domain"].tolist()]
        ids = [f"{name}/{windows.row(number)}" for name, number in zip(names, numbers, strict=True)]
    return {
        "id": ids,
        "position": [windows.position(number) for number in numbers],
        "tokens": tokens,
        "bytes": tokens.double() * text.bytes_per_token,
        "nats": losses.double().sum(dim=1),
        "right": ((logits.argmax(dim=-1) == labels) & is_scored).sum(dim=1),
    }
