"""Understanding of sentences: fine-tuning on the sets of GLUE and SuperGLUE, scored by their official metrics.

classification: a head on one or two texts; in a choice (COPA, ReCoRD) it scores each alternative,
and the softmax over them is trained. text_to_text (T5, https://arxiv.org/abs/1910.10683, appendix
D): the answer is written in words; what was answered is the alternative that is the most likely as
a whole (rank classification, Sanh et al. 2021, https://arxiv.org/abs/2110.08207), so that no answer
is unreadable and evaluation has no options of decoding.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.records.metrics import UNDERSTANDING
from moesuite.task import Batch, Key, Task, unknown
from moesuite.tasks.text.encoder import TextEncoder, padded, text_encoder
from moesuite.tasks.understanding.answers import Answered, count
from moesuite.tasks.understanding.questions import (
    STEP,
    Question,
    Questions,
    Subset,
    Texts,
    read_questions,
)

IGNORED = -100  # a target that is not scored
TRAINED = 4  # alternatives of a choice that are trained on, the right one among them


class Sample(NamedTuple):
    """A question: its number, the texts of each row, the words of each row, and the right row, class or score."""

    number: int
    texts: Sequence[Texts]
    words: Sequence[str]
    answer: float


class Rows(Dataset[Sample]):
    """The rows of each question; in training, the right alternative among a few others, drawn by the key's seed."""

    def __init__(self, questions: Sequence[Question], in_words: bool, training: bool) -> None:
        self.questions, self.in_words, self.training = questions, in_words, training

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, key: Key) -> Sample:
        index, seed = key if isinstance(key, tuple) else (key, 0)
        question = self.questions[index]
        if self.in_words:
            words = [question.words] if self.training else question.alternatives
            return Sample(index, [(question.prompt,)] * len(words), words, question.answer)
        if not self.training or len(question.pairs) == 1:
            return Sample(index, question.pairs, [], question.answer)
        right, wrong = int(question.answer), question.wrong
        rows = sorted([right, *random.Random(seed).sample(wrong, min(TRAINED - 1, len(wrong)))])
        return Sample(index, [question.pairs[row] for row in rows], [], float(rows.index(right)))


class Understanding(Task):
    """Answer questions on sentences."""

    specs = UNDERSTANDING

    def __init__(
        self,
        name: str = "understanding",
        hub: str | None = None,
        revision: str | None = None,
        source: str | None = None,
        subset: str = "rte",
        sets: dict[str, Subset] = {},  # noqa: B006 - a literal that `plugins` reads
        objective: Literal["classification", "text_to_text"] = "classification",
        tokenizer: str = "bpe",
        length: Annotated[int, Ge(8)] = 128,
    ) -> None:
        """Declare a set.

        Args:
            name: of the task.
            hub, revision: of the benchmark; its configurations are the sets.
            source: folder of local copies, one folder of parquet files for each set, in the hub's
                schema.
            subset: the set to train and evaluate.
            sets: what each set consists of, by name.
            objective: classification by a head, or text_to_text by an encoder and a decoder.
            tokenizer: byte, character, word, bpe, or a folder or hub id of a tokenizer.
            length: tokens that are kept of a text or a pair of texts, >= 8.

        Raises:
            UserError: for a set that is not among `sets`.
        """
        if subset not in sets:
            raise unknown("set in task.subset", subset, sets, f"task.subset={next(iter(sets), '')}")
        self.name, self.hub, self.revision, self.source = name, hub, revision, source
        self.subset, self.declared = subset, sets[subset]
        self.objective, self.tokenizer, self.length = objective, tokenizer, length
        self.in_words = self.causal_decoder = objective == "text_to_text"
        metrics = self.declared.metrics
        self.primary = UNDERSTANDING[metrics[0] if len(metrics) == 1 else "score"]
        self.unreadable: list[str] = []

    def prepare(self) -> None:
        """Load the set; see `Task.prepare`."""
        self.fingerprint, self.description = self._read.fingerprint, self._read.description

    @cached_property
    def _read(self) -> Questions:
        return read_questions(self.subset, self.declared, self.hub, self.revision, self.source)

    @cached_property
    def _text(self) -> TextEncoder:
        """The tokenizer, loaded or trained once."""

        def train() -> list[str]:
            questions = self._read.roles["train"]
            texts = [text for question in questions for pair in question.pairs for text in pair]
            return [
                *texts,
                *(f"{question.prompt} {question.words}" for question in questions if self.in_words),
            ]

        return text_encoder(self.tokenizer, self.length, train)

    @property
    def in_memory(self) -> bool:
        """Return that texts are ready."""
        return True

    @property
    def example_split(self) -> Literal["train", "test"]:
        """Return the split of costs: training, which has one row for each alternative only where a head scores it."""
        return "train"

    def backbone_arguments(self) -> dict[str, Any]:
        """Return what a model of Hugging Face has to fit."""
        fit = {
            "head": self.objective,
            "vocab_size": self._text.size,
            "max_position_embeddings": self.length,
        }
        classes = {} if self.in_words else {"num_labels": self.declared.classes}
        return {**fit, **classes, "pad_token_id": self._text.padding}

    def blank(self) -> dict[str, Tensor]:
        """Return a question of full length."""
        ids = torch.zeros(1, self.length, dtype=torch.long, device="meta")
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if self.in_words:
            inputs |= {
                "decoder_input_ids": ids[:, :8],
                "decoder_attention_mask": torch.ones_like(ids[:, :8]),
            }
        return inputs

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        return (
            None
            if split == "val"
            else Rows(self._read.roles[split], self.in_words, split == "train")
        )

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Join questions [B] to rows [R, T]; `rows` of each question, its number and answer [B]."""
        batch = {
            **self._text.rows([texts for sample in samples for texts in sample.texts]),
            "rows": torch.tensor([len(sample.texts) for sample in samples]),
            "index": torch.tensor([sample.number for sample in samples]),
            "answer": torch.tensor([sample.answer for sample in samples]),
        }
        return (
            batch | self._decoder([words for sample in samples for words in sample.words])
            if self.in_words
            else batch
        )

    def _decoder(self, words: Sequence[str]) -> dict[str, Tensor]:
        """Return words as labels, and behind the token of padding, with which T5 begins, as what the decoder sees."""
        tokens = padded(self._text.encode(words), self._text.padding)
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        begun = torch.cat([torch.full_like(ids[:, :1], self._text.padding), ids[:, :-1]], dim=1)
        labels = ids.masked_fill(mask == 0, IGNORED)
        return {"decoder_input_ids": begun, "decoder_attention_mask": mask, "labels": labels}

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return token ids, padding masks, and which text of a pair a token is of, where the tokenizer says so."""
        return {
            key: value
            for key, value in batch.items()
            if key not in ("rows", "index", "answer", "labels")
        }

    def _scores(self, output: Any, batch: Batch) -> Float[Tensor, "B A"]:
        """Return the score of each class or alternative; -inf where a question has fewer."""
        if self.in_words:
            nats = F.cross_entropy(
                output.logits.float().transpose(1, 2), batch["labels"], reduction="none"
            )
            values = -nats.sum(dim=1)  # those that are ignored are 0
        elif self.declared.is_choice:
            values = output.logits.float().squeeze(1)
        else:
            return output.logits.float()
        return pad_sequence(list(values.split(batch["rows"].tolist())), True, -torch.inf)

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the words of the texts."""
        return self._text.words(batch)

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the cross-entropy of the right words or alternatives; of scores, the mean squared error."""
        if self.in_words:
            return F.cross_entropy(output.logits.flatten(0, 1), batch["labels"].flatten())
        scores = self._scores(output, batch)
        if self.declared.form == "score":
            return F.mse_loss(scores.squeeze(1), batch["answer"])
        return F.cross_entropy(scores, batch["answer"].long())

    def metrics(self) -> MetricCollection:
        """Return the official metrics, as one metric with several values."""
        return MetricCollection(
            {"answered": Answered(self._read.roles["test"], self.declared.metrics)}
        )

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        scores = self._scores(output, batch)
        given = scores.argmax(dim=1).float()
        if self.declared.form == "score":
            given = given * STEP if self.in_words else scores.squeeze(1)
        metrics.update(batch["index"], given)

    def size(self, batch: Batch) -> int:
        """Return the number of questions."""
        return len(batch["index"])

    def examples(self, metric: str, total: int) -> int:
        """Return the number of examples behind a metric, if the whole split was scored."""
        questions = self._read.roles["test"]
        return count(metric, questions) if total == len(questions) else total

    def content(self, sample: Sample) -> bytes:
        """Return the texts."""
        return "\0".join(text for texts in sample.texts for text in texts).encode()
