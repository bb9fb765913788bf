"""The network of Tesauro's comparison training: one-hot inputs, hidden units, a score.

`mlp:<activation>`.

"Connectionist Learning of Expert Preferences by Comparison Training" (NIPS 1988). It has no token
axis, so nothing in it can be routed: a dense baseline for mixtures of experts.
"""

from __future__ import annotations

import itertools
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import SequenceClassifierOutput

from moesuite.errors import UserError, unknown

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Perceptron(nn.Module):
    """Score sequences of a fixed length by fully connected layers.

    Args:
        activation: of hidden units: relu, sigmoid or tanh.
        vocab_size, max_position_embeddings: V tokens, T of them in a sequence.
        hidden: units of each hidden layer, each >= 1.
        num_labels: outputs, >= 1.
    """

    def __init__(
        self,
        activation: str,
        vocab_size: int,
        max_position_embeddings: int,
        hidden: list[int],
        num_labels: int = 1,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        widths = [vocab_size * max_position_embeddings, *hidden]
        layers = [
            [nn.Linear(*pair), ACTIVATIONS[activation]()] for pair in itertools.pairwise(widths)
        ]
        self.hidden = nn.Sequential(*itertools.chain(*layers))
        self.score = nn.Linear(widths[-1], num_labels)

    def forward(self, input_ids: Int[Tensor, "B T"]) -> SequenceClassifierOutput:
        """Return `logits` [B, num_labels]."""
        ones: Float[Tensor, "B F"] = (
            F.one_hot(input_ids, self.vocab_size).flatten(1).to(self.score.weight.dtype)
        )
        return SequenceClassifierOutput(logits=self.score(self.hidden(ones)))


def build_perceptron(activation: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    """Build a perceptron, for tasks that score inputs of a fixed length.

    Args:
        activation: of hidden units.
        pretrained: refused, since there are no such weights.
        arguments: head "classification", and those of `Perceptron`.

    Raises:
        UserError: for another task, weights that do not exist, or an unknown activation.
    """
    options = dict(arguments)
    # nothing is padded: the first call refuses a batch with a mask
    options.pop("pad_token_id", None)
    if options.pop("head", None) != "classification":
        raise UserError(
            f"backbone=mlp:{activation} needs inputs of one length and a score of each, as "
            "task=backgammon has, e.g. backbone=bert_mini"
        )
    if activation not in ACTIVATIONS:
        raise unknown(
            "activation in backbone", f"mlp:{activation}", ACTIVATIONS, "backbone=tesauro"
        )
    if pretrained:
        raise UserError(
            f"backbone=mlp:{activation} has no pretrained weights; type backbone.pretrained=false"
        )
    built: Any = Perceptron(activation, **options)
    built.built_from = {"mlp": activation, "arguments": arguments}
    return built
