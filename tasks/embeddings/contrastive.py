"""Multiple negatives ranking: each text against all others of the batch.

Henderson et al. 2017, https://arxiv.org/abs/1705.00652, section 4.4, on cosines over a temperature,
as in SimCSE (Gao et al. 2021, https://arxiv.org/abs/2104.08821, equation 5).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from moesuite.tasks.embeddings.scores import Embedded


def contrastive_loss(pairs: Embedded, temperature: float) -> Tensor:
    """Return the cross-entropy of each second text among all second texts of the batch.

    Texts of the same data set and target are no negatives of each other.

    Args:
        pairs: embedded pairs [N, D].
        temperature: of the cosines, > 0.
    """
    logits = pairs.first @ pairs.second.T / temperature
    key = torch.stack([pairs.group.double(), pairs.target])
    same = (key[:, :, None] == key[:, None, :]).all(dim=0).fill_diagonal_(False)
    targets = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits.masked_fill(same, -torch.inf), targets)
