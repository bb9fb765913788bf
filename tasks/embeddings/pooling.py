"""From texts to vectors: tokenised examples, and pooling of the hidden states of their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from moesuite.task import Key, UserError
from moesuite.tasks.embeddings.pairs import Example
from moesuite.tasks.text.encoder import Ids

Pooling = Literal["mean", "cls", "last", "max"]
Sample = tuple[list[Ids], Example]


@dataclass(frozen=True)
class Embedding:
    """From a text to its vector.

    Attributes:
        pooling: pooling of the tokens' hidden states: mean, cls (first), last, max.
        prompt: words around each text, which replaces {}; a long text is cut, its prompt is not.
        representation: hidden states, or routing: the router weights of all MoE layers.

    Raises:
        UserError: for a prompt without {}.
    """

    pooling: Pooling = "mean"
    prompt: str = "{}"
    representation: Literal["hidden", "routing"] = "hidden"

    def __post_init__(self) -> None:
        if "{}" not in self.prompt:
            raise UserError(
                f"task.prompt={self.prompt!r}: the text's place is missing; expected any text with "
                "{} in it"
            )

    def prompted(self, text: str) -> str:
        """Return a text with the words around it."""
        return self.prompt.replace("{}", text)


class Examples(Dataset[Sample]):
    """Tokenised examples.

    In training, a text with a label comes with another one of its class, by the key's seed. In
    evaluation, texts of similar length stand together: little padding.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        encode: Callable[[Sequence[str]], list[Ids]],
        paired: bool,
    ) -> None:
        examples = [replace(example, number=row) for row, example in enumerate(examples)]
        if not paired:
            examples.sort(key=lambda example: max(map(len, example.texts)))
        flat = iter(encode(list(chain.from_iterable(example.texts for example in examples))))
        self.rows = [([next(flat) for _ in example.texts], example) for example in examples]
        self.classes: dict[tuple[int, float], list[int]] = {}
        self.paired = paired
        for row, example in enumerate(examples):
            self.classes.setdefault((example.group, example.target), []).append(row)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> Sample:
        index, seed = key if isinstance(key, tuple) else (key, 0)
        tokens, example = self.rows[index]
        if not self.paired or len(tokens) == 2:
            return tokens, example
        same = self.classes[example.group, example.target]
        other = same[(same.index(index) + 1 + seed % max(1, len(same) - 1)) % len(same)]
        return [*tokens, *self.rows[other][0]], example


def pool(
    hidden: Float[Tensor, "N T D"], mask: Int[Tensor, "N T"], how: Pooling
) -> Float[Tensor, "N D"]:
    """Return a vector of unit length for each text, of its real tokens only.

    Args:
        hidden: of each token.
        mask: 1 for real tokens, which come first; at least one in each text.
        how: mean or maximum of all, the first (cls), or the last one, for decoders.
    """
    hidden, real = hidden.float(), mask.bool().unsqueeze(-1)
    pooled: Any
    match how:
        case "mean":
            pooled = (hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
        case "max":
            pooled = hidden.masked_fill(~real, -torch.inf).amax(dim=1)
        case "cls":
            pooled = hidden[:, 0]
        case "last":
            pooled = hidden[
                torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1).clamp(min=1) - 1
            ]
    return F.normalize(pooled, dim=-1)
