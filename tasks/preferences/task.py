"""Expert preferences: a choice among alternatives, learned by comparison.

Tesauro, "Connectionist Learning of Expert Preferences by Comparison Training" (NIPS 1988): a
network sees two of the alternatives and learns which one the expert prefers. With one network s for
both, o = σ(s(a) - s(b)): answers do not depend on the order of the two, are transitive, and n
alternatives cost n evaluations (`head=comparison`); it is what Bradley-Terry reward models are.
Controls: `relative_score`, his earlier way, regresses the expert's score of an alternative;
`comparison_free` is any network of two inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Le, MultipleOf
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.records.metrics import OPPONENTS, PREFERENCES
from moesuite.task import Batch, Source, Task, UserError, unknown
from moesuite.tasks.preferences.backgammon.expert import file_of
from moesuite.tasks.preferences.backgammon.gnubg_package import Package, opponents
from moesuite.tasks.preferences.backgammon.labels import labelled, read
from moesuite.tasks.preferences.backgammon.play import network, play
from moesuite.tasks.preferences.backgammon.positions import TOKENS, VOCABULARY, show, tokens
from moesuite.tasks.preferences.backgammon.selfplay import Recipe
from moesuite.tasks.preferences.choices import (
    Agreement,
    Choice,
    Choices,
    Head,
    Loss,
    answers,
    training_loss,
)
from moesuite.tasks.preferences.dialogues import read_pairs
from moesuite.tasks.text.encoder import Ids, TextEncoder, padded, text_encoder

WHOLE = 1 << 20  # tokens: no text is cut before its end is kept
HELD_OUT = 0.05  # share of the training choices that validation has
Count = Annotated[int, Ge(1)]


class Preferences(Task):
    """Choose what the expert would choose."""

    primary, specs = PREFERENCES["top1"], PREFERENCES

    def __init__(
        self,
        name: str = "preferences",
        kind: Literal["backgammon", "text"] = "backgammon",
        head: Head = "comparison",
        loss: Loss = "pairs",
        alternatives: Annotated[int, Ge(2)] = 8,
        source: str | None = None,
        hub: str | None = None,
        revision: str | None = None,
        splits: dict[str, str] = {"train": "train", "test": "test"},  # noqa: B006 - a literal that `plugins` reads
        columns: dict[str, str] = {"chosen": "chosen", "rejected": "rejected"},  # noqa: B006
        expert: str = "gnubg-nn",
        positions: Count = 20000,
        test_positions: Count = 1000,
        train_plies: Annotated[int, Ge(0), Le(3)] = 0,
        test_plies: Annotated[int, Ge(0), Le(3)] = 2,
        random_moves: Annotated[float, Ge(0), Le(1)] = 0.2,
        train_on: Count | None = None,
        play: list[Literal["random", "pubeval", "gnubg"]] = [],  # noqa: B006
        games: Annotated[int, Ge(4), MultipleOf(2)] = 1000,
        tokenizer: str = "byte",
        length: Annotated[int, Ge(8)] = 256,
        licence: str = "",
        size: str = "",
    ) -> None:
        """Declare choices.

        Args:
            name: of the task.
            kind: backgammon (moves) or text (which of two answers was preferred).
            head: comparison: σ(s(a) - s(b)); relative_score: s(a) is the expert's score;
                comparison_free: both inputs.
            loss: of comparisons: all pairs; chosen against each other one; listwise, a softmax over
                all.
            alternatives: of a choice in training, >= 2, the expert's own choice and others at
                random.
            source: folder of labelled positions or of pairs of texts (parquet, of texts JSON lines
                too), or a hub id.
            hub, revision, splits, columns: of texts on the hub.
            expert: of backgammon: gnubg-nn (the extra), gnubg (the program), or
                `path/to/file.py:Class` of your own.
            positions, test_positions: of backgammon that are made, >= 1.
            train_plies, test_plies: rolls that the expert who judges them looks ahead, 0 to 3.
            random_moves: share of random moves in the games that positions come from, in [0, 1].
            train_on: of the training choices only so many, the first ones; None: all.
            play: opponents for games after training: random, pubeval, gnubg (0-ply).
            games: against each of them, even, >= 4.
            tokenizer: of texts: byte, character, word, bpe, or a folder or hub id of a tokenizer.
            length: tokens that are kept of a text, from its end, >= 8.
            licence, size: terms and size of the data, for the reader.

        Raises:
            UserError: for a loss that the head does not have.
        """
        if (
            head != "comparison"
            and loss != "pairs"
            and (head == "relative_score" or loss == "listwise")
        ):
            raise UserError(
                f"task.loss={loss} with task.head={head}; allowed: pairs; type task.head=comparison"
            )
        if wrong := [one for one in play if one not in OPPONENTS]:
            raise unknown("opponent in task.play", wrong[0], OPPONENTS, "task.play=[pubeval]")
        if play and kind == "text":
            raise UserError(
                f"task.play={play} with task.kind=text; allowed: with backgammon; type task.play=[]"
            )
        self.name, self.kind, self.head, self.loss_name, self.most = (
            name,
            kind,
            head,
            loss,
            alternatives,
        )
        self.source, self.hub, self.revision = source, hub, revision
        self.splits, self.columns, self.train_on = dict(splits), dict(columns), train_on
        self.recipe = Recipe(
            expert, positions, test_positions, train_plies, test_plies, random_moves, 0
        )
        self.play, self.games, self.tokenizer, self.length = list(play), games, tokenizer, length
        self.unreadable: list[str] = []
        self.own_files = file_of(expert)

    def prepare(self) -> None:
        """Read or make the choices; see `Task.prepare`."""
        self.fingerprint, self.description = self._read[1].fingerprint, self._read[1].description

    @cached_property
    def _read(self) -> tuple[dict[str, list[Choice]], Source]:
        """Choices of each role, validation being the end of the training split."""
        roles, source = self._texts() if self.kind == "text" else self._moves()
        train = roles["train"][: self.train_on]
        held_out = max(1, round(HELD_OUT * len(train)))
        if len(train) <= held_out or not roles["test"]:
            raise UserError(
                f"{source.description}: {len(train)} choices to train on and {len(roles['test'])} to test; "
                "allowed: at least 2 and 1"
            )
        return {"train": train[:-held_out], "val": train[-held_out:], "test": roles["test"]}, source

    def _moves(self) -> tuple[dict[str, list[Choice]], Source]:
        if self.play:
            Package()  # that it is missing is told before training
        source = labelled(self.source, self.recipe)
        roles = {
            role: read(rows, f"{source.description}, split {role}")
            for role, rows in source.splits.items()
        }
        return {
            role: [Choice(tokens(boards), scores) for boards, scores in own]
            for role, own in roles.items()
        }, source

    def _texts(self) -> tuple[dict[str, list[Choice]], Source]:
        roles, source = self._pairs
        encode = self._text.encode
        scores = np.array([1, 0], dtype=np.float32)
        return {
            role: [Choice([self._end(ids) for ids in encode(pair)], scores) for pair in pairs]
            for role, pairs in roles.items()
        }, source

    @cached_property
    def _pairs(self) -> tuple[dict[str, list[tuple[str, str]]], Source]:
        return read_pairs(self.source, self.hub, self.revision, self.splits, self.columns)

    @cached_property
    def _text(self) -> TextEncoder:
        """The tokenizer, loaded or trained once."""
        return text_encoder(
            self.tokenizer,
            WHOLE,
            lambda: [text for pair in self._pairs[0]["train"] for text in pair],
        )

    def _end(self, ids: Ids) -> Ids:
        """Return the first token, which may be a special one, and the end of a text: dialogues differ there."""
        return ids if len(ids) <= self.length else np.concatenate([ids[:1], ids[1 - self.length :]])

    @property
    def in_memory(self) -> bool:
        """Return that tokens are ready."""
        return True

    @property
    def _inputs(self) -> int:
        """Alternatives that the network sees at once."""
        return 2 if self.head == "comparison_free" else 1

    def backbone_arguments(self) -> dict[str, Any]:
        """Return what a model of Hugging Face, or a perceptron, has to fit."""
        vocabulary, length, padding = (
            VOCABULARY,
            TOKENS,
            0,
        )  # 15 men of the opponent: never the last token
        if self.kind == "text":
            vocabulary, length, padding = self._text.size, self.length, self._text.padding
        fit = {
            "head": "classification",
            "num_labels": 1,
            "vocab_size": vocabulary,
            "pad_token_id": padding,
        }
        return {**fit, "max_position_embeddings": length * self._inputs}

    def blank(self) -> dict[str, Tensor]:
        """Return an alternative of full length."""
        length = self.length if self.kind == "text" else TOKENS
        ids = torch.zeros(1, length * self._inputs, dtype=torch.long, device="meta")
        return (
            {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            if self.kind == "text"
            else {"input_ids": ids}
        )

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        free = self.head == "comparison_free"
        if split != "train":
            return Choices(self._read[0][split], None, "all" if free else "")
        return Choices(self._read[0][split], self.most, self.loss_name if free else "")

    def collate(self, samples: Sequence[Choice]) -> Batch:
        """Join choices [B] of n alternatives to rows [R, T]: the alternatives, or the pairs that are shown."""
        sizes = [len(sample.scores) for sample in samples]
        starts = np.cumsum([0, *sizes])
        asked = [
            (start + a, start + b)
            for start, one in zip(starts, samples, strict=False)
            for a, b in one.asked
        ]
        flat = [row for sample in samples for row in sample.rows]
        rows = flat if self._inputs == 1 else [np.concatenate([flat[a], flat[b]]) for a, b in asked]
        if self.kind == "text":
            inputs = padded(rows, self._text.padding)
        else:
            inputs = {
                "input_ids": torch.from_numpy(
                    np.stack(rows) if rows else np.zeros((0, TOKENS * self._inputs))
                ).long()
            }
        scores = torch.from_numpy(np.concatenate([sample.scores for sample in samples]))
        return {
            **inputs,
            "scores": scores,
            "sizes": sizes,
            "asked": torch.tensor(asked, dtype=torch.long).reshape(-1, 2),
        }

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return token ids, and of texts the padding mask [R, T]."""
        return {key: batch[key] for key in ("input_ids", "attention_mask") if key in batch}

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the loss of the head."""
        logits = output.logits.float().squeeze(1)
        return training_loss(
            self.head, self.loss_name, logits, batch["scores"], batch["sizes"], batch["asked"]
        )

    def metrics(self) -> MetricCollection:
        """Return agreement with the expert, and consistency."""
        return MetricCollection({"agreement": Agreement()})

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        found = answers(self.head, output.logits.float().squeeze(1), batch["sizes"])
        metrics.update(list(found), batch["scores"].split(batch["sizes"]))

    def beyond(self, model: nn.Module) -> dict[str, float]:
        """Play."""
        found, against = dict[str, float](), opponents(1)
        for name in self.play:
            points = play(network(model, self._inputs), against[name](), Package(), self.games, 0)
            found |= {f"points_{name}": points.mean, f"points_{name}_half": points.half}
        return found

    def examples(self, metric: str, total: int) -> int:
        """Return the number of games behind points."""
        return self.games if metric.startswith("points_") else total

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the words of texts, or what stands on each point."""
        return self._text.words(batch) if self.kind == "text" else show(batch["input_ids"])

    def size(self, batch: Batch) -> int:
        """Return the number of choices."""
        return len(batch["sizes"])

    def content(self, sample: Choice) -> bytes:
        """Return the alternatives."""
        return b"\0".join(np.asarray(row).tobytes() for row in sample.rows)
