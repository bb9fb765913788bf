"""Expert preferences: a choice among alternatives, learned by comparison.

Tesauro, "Connectionist Learning of Expert Preferences by Comparison Training" (NIPS 1988): a
network sees two of the alternatives and learns which one the expert prefers. With one network s for
both, o = σ(s(a) - s(b)): answers do not depend on the order of the two, are transitive, and n
alternatives cost n evaluations (`head=comparison`); Bradley-Terry reward models are the same.
Controls: `relative_score`, his earlier way, regresses the expert's score of an alternative;
`comparison_free` is any network of two inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.records.metrics import PREFERENCES
from moesuite.task import Batch, Columns, Preview, Source, Task
from moesuite.tasks.options import About, Tokens
from moesuite.tasks.preferences.agreement import Agreement, answers, chosen
from moesuite.tasks.preferences.backgammon.expert import expert_of, file_of
from moesuite.tasks.preferences.backgammon.opponents import RULES, Matches, opponent
from moesuite.tasks.preferences.backgammon.play import network, play
from moesuite.tasks.preferences.backgammon.positions import TOKENS, VOCABULARY, as_words
from moesuite.tasks.preferences.backgammon.selfplay import Positions
from moesuite.tasks.preferences.choices import Choice, Choices, Comparison, training_loss
from moesuite.tasks.preferences.dialogues import Dialogues
from moesuite.tasks.preferences.preview import preview_moves, preview_pairs
from moesuite.tasks.preferences.reading import Roles, TextChoices, prepared, read_moves, validated
from moesuite.tasks.text.encoder import padded


class Preferences(Task):
    """Choose what the expert would choose."""

    primary, specs = PREFERENCES["top1"], PREFERENCES
    protocol = 2  # a prompt stands before both answers, once; a validation split is used

    def __init__(
        self,
        name: str = "preferences",
        kind: Literal["backgammon", "text"] = "backgammon",
        comparison: Comparison = Comparison(),
        data: Dialogues = Dialogues(),
        self_play: Positions = Positions(),
        train_on: Annotated[int, Ge(1)] | None = None,
        matches: Matches = Matches(),
        tokens: Tokens = Tokens(),
        about: About = About(),
    ) -> None:
        """Declare choices.

        Args:
            name: name of the task.
            kind: backgammon (moves) or text (which of two answers was preferred).
            comparison: what is learned of a choice.
            data: where texts, or labelled positions, come from.
            source: folder or file of labelled positions or of pairs of texts (parquet, csv, tsv,
                jsonl, json, arrow), or a hub id.
            self_play: positions of backgammon to make.
            train_on: number of training choices to use, the first ones, >= 1; null: all.
            matches: games of backgammon after training.
            tokens: tokenizer and length of texts.
            length: tokens that are kept of a text, its last ones, >= 8.
            about: for the reader.

        Raises:
            UserError: for a loss that the head does not have, an unknown opponent, or games on a
                task of texts.
        """
        comparison.check()
        matches.check(kind)
        self.name = name
        self.kind = kind
        self.comparison = comparison
        self.data = data
        self.recipe = self_play.recipe
        self.train_on = train_on
        self.matches = matches
        self.length = tokens.length
        self._texts = TextChoices(data, tokens)
        self.about = about
        self.unreadable = []
        self.own_files = file_of(self_play.expert)

    def prepare(self) -> None:
        """Read or make the choices; see `Task.prepare`."""
        source = self._read[1]
        self.fingerprint, self.description = source.fingerprint, source.description
        self.notes = source.notes

    @cached_property
    def _read(self) -> tuple[Roles, Source]:
        """Choices of each role, and their source; read once."""
        if self.kind == "text":
            roles, source = self._texts.read()
        else:
            if self.matches.play:
                expert_of(RULES, 0)  # fail before training if it is missing
            roles, source = read_moves(self.data.source, self.recipe)
        return prepared(roles, self.train_on, source)

    @property
    def in_memory(self) -> bool:
        """True: tokens are ready."""
        return True

    @property
    def _inputs(self) -> int:
        """Alternatives that the network sees at once."""
        return 2 if self.comparison.head == "comparison_free" else 1

    def backbone_arguments(self) -> dict[str, Any]:
        """Return head, vocabulary, length and padding, by Hugging Face's names."""
        # 0, 15 men of the opponent, is never the last token
        vocabulary, length, padding = VOCABULARY, TOKENS, 0
        if self.kind == "text":
            encoder = self._texts.encoder
            vocabulary, length, padding = encoder.size, self.length, encoder.padding
        return {
            "head": "classification",
            "num_labels": 1,
            "vocab_size": vocabulary,
            "pad_token_id": padding,
            "max_position_embeddings": length * self._inputs,
        }

    def blank(self) -> dict[str, Tensor]:
        """Return an alternative of full length."""
        length = self.length if self.kind == "text" else TOKENS
        ids = torch.zeros(1, length * self._inputs, dtype=torch.long, device="meta")
        if self.kind == "text":
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return {"input_ids": ids}

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        free = self.comparison.head == "comparison_free"
        choices, pairs = self._read[0][split], self.comparison.loss
        if split != "train":
            return Choices(choices, None, "all" if free else "")
        return Choices(choices, self.comparison.alternatives, pairs if free else "")

    def collate(self, samples: Sequence[Choice]) -> Batch:
        """Join choices [B] of n alternatives to rows [R, T]: the alternatives, or pairs of them."""
        sizes = [len(sample.scores) for sample in samples]
        pairs: list[tuple[int, int]] = []
        start = 0
        for sample, size in zip(samples, sizes, strict=True):
            pairs += [(start + a, start + b) for a, b in sample.pairs]
            start += size
        rows = list(chain.from_iterable(sample.rows for sample in samples))
        if self._inputs == 2:
            rows = [np.concatenate([rows[a], rows[b]]) for a, b in pairs]
        scores = torch.from_numpy(np.concatenate([sample.scores for sample in samples]))
        return {
            **self._joined(rows),
            "scores": scores,
            "sizes": sizes,
            "index": torch.tensor([sample.number for sample in samples]),
            "pairs": torch.tensor(pairs, dtype=torch.long).reshape(-1, 2),
        }

    def _joined(self, rows: Sequence[Any]) -> dict[str, Tensor]:
        """Return the model's inputs of some rows, possibly of none."""
        if self.kind == "text":
            return padded(rows, self._texts.encoder.padding)
        stacked = np.stack(rows) if rows else np.zeros((0, TOKENS * self._inputs))
        return {"input_ids": torch.from_numpy(stacked).long()}

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return token ids, and of texts the padding mask [R, T]."""
        return {key: batch[key] for key in ("input_ids", "attention_mask") if key in batch}

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the loss of the head."""
        logits = output.logits.float().squeeze(1)
        return training_loss(
            self.comparison.head,
            self.comparison.loss,
            logits,
            batch["scores"],
            batch["sizes"],
            batch["pairs"],
        )

    def metrics(self) -> MetricCollection:
        """Return agreement with the expert, and consistency."""
        return MetricCollection({"agreement": Agreement()})

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        logits = output.logits.float().squeeze(1)
        predictions = list(answers(self.comparison.head, logits, batch["sizes"]))
        metrics.update(predictions, batch["scores"].split(batch["sizes"]))

    def predictions(self, output: Any, batch: Batch) -> Columns:
        """Return the choices of a test batch, and the scores of all alternatives."""
        return chosen(self.comparison.head, output.logits.float().squeeze(1), batch)

    def beyond(self, model: nn.Module) -> dict[str, float]:
        """Return the points of games against each opponent, and half their confidence interval."""
        figures: dict[str, float] = {}
        player = network(model, self._inputs)
        for name in self.matches.play:
            points = play(player, opponent(name, 1), expert_of(RULES, 0), self.matches.games, 0)
            figures |= {f"points_{name}": points.mean, f"points_{name}_half": points.half}
        return figures

    def examples(self, metric: str, total: int) -> int:
        """Return the number of games behind points."""
        return self.matches.games if metric.startswith("points_") else total

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the words of texts, or the men on each point."""
        if self.kind == "text":
            return self._texts.encoder.words(batch)
        return as_words(batch["input_ids"])

    def preview(self, split: Literal["train", "val", "test"]) -> Preview:
        """Return the pairs of texts, the chosen one first, or the expert's move of positions."""
        if self.kind == "backgammon":
            return preview_moves(self._read[0][split])
        pairs = validated(self._texts.pairs[0], self.train_on, self.name)[split]
        return preview_pairs(pairs, self._texts.encoder, self.length)

    def size(self, batch: Batch) -> int:
        """Return the number of choices."""
        return len(batch["sizes"])

    def contents(self, split: Literal["train", "val", "test"]) -> Iterator[bytes] | None:
        """Return all alternatives of each choice; in training some are drawn."""
        return map(self.content, self._read[0][split])

    def content(self, sample: Choice) -> bytes:
        """Return the alternatives."""
        return b"\0".join(np.asarray(row).tobytes() for row in sample.rows)
